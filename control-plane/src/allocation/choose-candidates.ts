import { BerthError, isJsonObject, typeName } from "@berth/service-kit";
import type { ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";
import type { PolicyRegistry } from "../policies/policy-registry.ts";
import type { Selection } from "./allocation-request.ts";
import { rankingClients } from "./host-clients.ts";
import type { Search } from "./query/selection.ts";
import { type PolicyRunDeps, runPolicy } from "./run-policy.ts";

/** Clusters that the policy may choose from, and what the client named that is not there. */
export interface Candidates {
  readonly candidates: readonly ClusterView[];
  readonly warnings: readonly string[];
}

/** Whose clusters, as of when, and until when the client waits. */
export interface CandidateScope {
  readonly orgId: string;
  readonly snapshot: FleetSnapshot;
  readonly signal: AbortSignal;
}

/** What {@link chooseCandidates} needs to run a ranking policy. */
export interface CandidateDeps extends PolicyRunDeps {
  readonly policies: Pick<PolicyRegistry, "runnable">;
}

/**
 * The candidates of a request: the clusters that it names, or those of its filter or search, or every
 * live one. Unreachable clusters are never candidates. A cluster without an agent is one only when it
 * was selected, with a warning. An empty pool is no error.
 */
export async function chooseCandidates(
  selection: Selection,
  scope: CandidateScope,
  deps: CandidateDeps,
): Promise<Candidates> {
  const alive = [...scope.snapshot.values()].filter((view) => view.health !== "unreachable");
  switch (selection.kind) {
    case "all":
      return { candidates: alive.filter((view) => view.health === "live"), warnings: [] };
    case "ids":
      return named(selection.ids, scope.snapshot, "clusters");
    case "filter": {
      const ids = alive.filter(selection.filter).map((view) => view.id);
      return named(ids, scope.snapshot, "filter");
    }
    case "search": {
      const ids = await rank(selection.search, { ...scope, alive }, deps);
      return named(ids, scope.snapshot, "search");
    }
  }
}

function named(ids: readonly string[], snapshot: FleetSnapshot, field: string): Candidates {
  const candidates: ClusterView[] = [];
  const warnings: string[] = [];
  for (const id of ids) {
    const view = snapshot.get(id);
    if (view === undefined) warnings.push(`${field}: there is no cluster ${id}`);
    else if (view.health === "unreachable") warnings.push(`${field}: cluster ${id} is unreachable`);
    else {
      candidates.push(view);
      if (view.health === "unknown") {
        warnings.push(`${field}: cluster ${id} has no agent; nothing tells whether it is alive`);
      }
    }
  }
  return { candidates, warnings };
}

/** Ids of the filtered clusters in the order of the ranking policy, the first `top` of them. */
async function rank(
  search: Search,
  scope: CandidateScope & { readonly alive: readonly ClusterView[] },
  deps: CandidateDeps,
): Promise<readonly string[]> {
  const found = scope.alive.filter(search.filter);
  const policy = await deps.policies.runnable(scope.orgId, search.policyRuleUri);
  if (found.length === 0) return [];
  const { parameters, settings } = search;
  const resultJson = await runPolicy(
    {
      orgId: scope.orgId,
      policy,
      kind: "ranking",
      inputJson: `[${found.map((view) => view.documentJson).join(",")}]`,
      parameters,
      settings,
      clients: rankingClients(scope.snapshot),
      signal: scope.signal,
    },
    deps,
  );
  return rankedIds(JSON.parse(resultJson), search).slice(0, search.top);
}

function rankedIds(result: unknown, search: Search): readonly string[] {
  if (result === null) return [];
  const ids = [result].flat().map((item, index) => {
    const id = isJsonObject(item) ? item.id : item;
    if (typeof id === "string") return id;
    const message = `ranking policy ${search.policyRuleUri} returned an invalid list: result[${index}]: expected a document with an id, got ${typeName(item)}`;
    throw new BerthError("POLICY_FAILED", message);
  });
  return [...new Set(ids)];
}
