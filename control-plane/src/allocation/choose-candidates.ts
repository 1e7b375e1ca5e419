import type { Pacer } from "@berth/service-kit";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { Selection } from "./allocation-request.ts";
import { MAX_CLUSTER_STEPS, MAX_REQUEST_STEPS, QuerySteps } from "./query/query-steps.ts";
import { type ClusterFilter, isSelected } from "./query/selection.ts";
import { shortList } from "./short-list.ts";
import type { Sight } from "./sight.ts";

/** A selection whose search, if it was one, has been ranked. */
export type RankedSelection =
  | Exclude<Selection, { kind: "search" }>
  | { readonly kind: "ranked"; readonly ranking: Ranking };

/** What a ranking policy made of the clusters that its filter found. */
export interface Ranking {
  /** The best ones in its order, at most as many as the search asked for. */
  readonly ids: readonly string[];
  /** Clusters that are no candidates, and why. */
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/** A cluster that the policy could not choose. */
export interface Dropped {
  readonly id: string;
  /** For people: "unreachable", "the filter does not match". */
  readonly reason: string;
}

/** Clusters that the policy may choose from, those it may not, and what the client should know of that. */
export interface Candidates {
  readonly candidates: readonly ClusterView[];
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/** What choosing goes by. */
export interface ChoosingScope {
  readonly sight: Sight;
  /** Lets others have their turn while a filter takes long. */
  readonly pacer: Pacer;
  /** Ends a filter that nobody waits for any more: what it is aborted with is thrown. */
  readonly signal: AbortSignal;
}

/**
 * The candidates of a request: the clusters that it names, or those of its filter or ranked search, or
 * every live one. Unreachable clusters are never candidates. A cluster without an agent is one only when
 * it was selected, with a warning. An empty pool is no error.
 */
export async function chooseCandidates(
  selection: RankedSelection,
  scope: ChoosingScope,
): Promise<Candidates> {
  const { sight } = scope;
  switch (selection.kind) {
    case "all":
      return everyLive(sight);
    case "ids":
      return named(selection.ids, sight, "clusters");
    case "filter": {
      const { found, ...more } = await applyFilter(selection.filter, scope, "filter");
      return withMore(named(idsOf(found), sight, "filter"), more);
    }
    case "ranked": {
      const { ids, ...more } = selection.ranking;
      return withMore(named(ids, sight, "search"), more);
    }
  }
}

/** What a filter made of the clusters. */
export interface Filtered {
  readonly found: readonly ClusterView[];
  readonly dropped: readonly Dropped[];
  readonly warnings: readonly string[];
}

/**
 * The clusters that are not unreachable and match, and why the others do not. Those on which the filter would
 * take too long are named in warnings, which begin with the field that the filter is from.
 */
export async function applyFilter(
  filter: ClusterFilter,
  { sight, pacer, signal }: ChoosingScope,
  field: string,
): Promise<Filtered> {
  const found: ClusterView[] = [];
  const dropped: Dropped[] = [];
  await pacer.run(filtering(sight.all(), filter, { found, dropped }), signal);
  const tooLong = dropped.filter(({ reason }) => TOO_LONG_REASONS.includes(reason));
  const warnings = shortList(
    tooLong.map(({ id, reason }) => `${field}: cluster ${id} is no candidate: ${reason}`),
    (count) => `${field}: ${count} more clusters are no candidates: it takes too many steps`,
  );
  return { found, dropped, warnings };
}

const TOO_LONG_HERE = `the filter takes more than ${MAX_CLUSTER_STEPS} steps on it`;
const TOO_LONG_BEFORE = `the filter took all of its ${MAX_REQUEST_STEPS} steps on others`;
const TOO_LONG_REASONS = [TOO_LONG_HERE, TOO_LONG_BEFORE];

function* filtering(
  views: readonly ClusterView[],
  filter: ClusterFilter,
  { found, dropped }: { readonly found: ClusterView[]; readonly dropped: Dropped[] },
): Generator<void, void> {
  const steps = new QuerySteps();
  for (const view of views) {
    const { id, health } = view;
    if (health === "unreachable") {
      dropped.push({ id, reason: "unreachable" });
      continue;
    }
    const verdict = yield* isSelected(filter, view, steps);
    if (verdict === true) found.push(view);
    else if (verdict === false) dropped.push({ id, reason: "the filter does not match" });
    else dropped.push({ id, reason: steps.isSpent ? TOO_LONG_BEFORE : TOO_LONG_HERE });
    yield;
  }
}

function everyLive(sight: Sight): Candidates {
  const candidates: ClusterView[] = [];
  const dropped: Dropped[] = [];
  for (const view of sight.all()) {
    if (view.health === "live") candidates.push(view);
    else if (view.health === "unreachable") dropped.push({ id: view.id, reason: "unreachable" });
    else dropped.push({ id: view.id, reason: "no agent; select it to have it considered" });
  }
  return { candidates, dropped, warnings: [] };
}

function named(ids: readonly string[], sight: Sight, field: string): Candidates {
  const candidates: ClusterView[] = [];
  const dropped: Dropped[] = [];
  const warnings: string[] = [];
  for (const id of ids) {
    const view = sight.get(id);
    if (view === undefined) {
      warnings.push(`${field}: there is no cluster ${id}`);
      dropped.push({ id, reason: "there is no such cluster" });
    } else if (view.health === "unreachable") {
      warnings.push(`${field}: cluster ${id} is unreachable`);
      dropped.push({ id, reason: "unreachable" });
    } else {
      candidates.push(view);
      if (view.health === "unknown") {
        warnings.push(`${field}: cluster ${id} has no agent; nothing tells whether it is alive`);
      }
    }
  }
  return { candidates, dropped, warnings };
}

function withMore(
  chosen: Candidates,
  { dropped, warnings }: Pick<Candidates, "dropped" | "warnings">,
): Candidates {
  return {
    ...chosen,
    dropped: [...dropped, ...chosen.dropped],
    warnings: [...warnings, ...chosen.warnings],
  };
}

function idsOf(views: readonly ClusterView[]): readonly string[] {
  return views.map((view) => view.id);
}
