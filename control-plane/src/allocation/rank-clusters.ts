import {
  logDetails,
  type PolicyRunDeps,
  type PolicyRunOutcome,
  runPolicy,
} from "@berth/policy-sandbox";
import {
  BerthError,
  isJsonObject,
  type Principal,
  type QueryRunner,
  typeName,
} from "@berth/service-kit";
import type { PolicyRegistry } from "../policies/policy-registry.ts";
import {
  applyFilter,
  type Candidates,
  type ChoosingScope,
  type Ranking,
} from "./choose-candidates.ts";
import type { DecisionDraft } from "./decisions/decision-draft.ts";
import type { Dropped } from "./dropped.ts";
import { type FitCandidates, type FitOptions, fitCandidates } from "./fit-candidates.ts";
import { rankingClients } from "./host-clients.ts";
import type { Search } from "./query/selection.ts";
import type { ResidentCatalog } from "./resident-catalog.ts";
import { shortList } from "./short-list.ts";

/** What {@link rankClusters} needs. */
export interface RankingDeps extends PolicyRunDeps {
  readonly policies: Pick<PolicyRegistry, "runnable">;
  readonly residents: ResidentCatalog;
}

/** Who searches, what he sees, until when he waits, and where it is recorded. */
export interface RankingScope extends ChoosingScope {
  readonly principal: Principal;
  readonly queries: QueryRunner;
  readonly draft: Pick<DecisionDraft, "ranksBy" | "found" | "ranked">;
}

/**
 * Runs the ranking policy of a search on the clusters that its filter finds; none found is no run. Throws
 * what {@link runPolicy} reports, and POLICY_FAILED for a result that is no list of documents.
 */
export async function rankClusters(
  search: Search,
  scope: RankingScope,
  deps: RankingDeps,
): Promise<Ranking> {
  const { principal, sight, queries, signal, draft } = scope;
  const policy = await deps.policies.runnable(principal.orgId, search.policyRuleUri);
  draft.ranksBy(policy.code.digest);
  const { resident, ...found } = await findFit(search, scope, deps);
  draft.found(found);
  if (found.candidates.length === 0) return rankingOf([], found, search);
  const run = await runPolicy(
    {
      orgId: principal.orgId,
      policy,
      kind: "ranking",
      inputJson: "null",
      resident: async () => resident,
      parameters: search.parameters,
      settings: search.settings,
      fieldPrefix: "search.rankingPolicyRule.",
      clients: rankingClients(() => sight, queries),
      accept: (resultJson) => isRanking(JSON.parse(resultJson)),
      signal,
    },
    deps,
  );
  draft.ranked(run.facts);
  if (run.kind === "failed") throw run.error;
  const ranking = rankingOf(rankedIds(run, search.policyRuleUri), found, search);
  draft.found({ ...ranking, candidates: ranking.ids.map((id) => ({ id })) });
  return ranking;
}

/** What the filter of a search finds, as far as a policy worker can hold it. */
async function findFit(
  { filter }: Search,
  scope: RankingScope,
  deps: RankingDeps,
): Promise<FitCandidates> {
  const { found, dropped, warnings } = await applyFilter(filter, scope, "search");
  const residentOf: FitOptions["residentOf"] = (views) => deps.residents.list(views);
  const fit = fitCandidates(found, { ...deps, kind: "ranking", residentOf });
  return {
    ...fit,
    dropped: [...dropped, ...fit.dropped],
    warnings: [...warnings, ...fit.warnings],
  };
}

/** Only what the filter found is ranked: a policy cannot bring clusters back that it was not given. */
function rankingOf(ranked: readonly string[], found: Candidates, search: Search): Ranking {
  const findable = new Set(found.candidates.map(({ id }) => id));
  const ids = ranked.filter((id) => findable.has(id)).slice(0, search.top);
  const chosen = new Set(ids);
  const behind = found.candidates.filter(({ id }) => !chosen.has(id));
  return {
    ids,
    dropped: [...found.dropped, ...behind.map(({ id }) => rankedOut(id, search))],
    warnings: [...found.warnings, ...strangers(ranked, findable)],
  };
}

/** Names that the ranking policy returned although it was not given them. */
function strangers(ranked: readonly string[], findable: ReadonlySet<string>): readonly string[] {
  const names = ranked.filter((id) => !findable.has(id)).map((id) => id.slice(0, MAX_NAME));
  return shortList(
    names.map((id) => `search: the ranking policy returned ${id}, which its filter did not find`),
    (count) => `search: the ranking policy returned ${count} more that its filter did not find`,
  );
}

/** Characters of a name that a policy made up. */
const MAX_NAME = 253;

function rankedOut(id: string, search: Search): Dropped {
  const limit = search.top === undefined ? "" : `, or not among its first ${search.top}`;
  return { id, reason: `not returned by the ranking policy ${search.policyRuleUri}${limit}` };
}

/** The ids that a ranking policy returned, as such or in documents, in its order. POLICY_FAILED for anything else. */
export function rankedIds(
  { resultJson, facts }: Extract<PolicyRunOutcome, { kind: "returned" }>,
  policyRuleUri: string,
): readonly string[] {
  const result: unknown = JSON.parse(resultJson);
  if (result === null) return [];
  const ids = [result].flat().map((item, index) => {
    const id = idOf(item);
    if (typeof id === "string") return id;
    const message = `ranking policy ${policyRuleUri} returned an invalid list: result[${index}]: expected a document with an id, got ${typeName(item)}`;
    throw new BerthError("POLICY_FAILED", message, { details: logDetails(facts) });
  });
  return [...new Set(ids)];
}

/** Whether a result is what {@link rankedIds} takes. */
export function isRanking(result: unknown): boolean {
  return result === null || [result].flat().every((item) => typeof idOf(item) === "string");
}

function idOf(item: unknown): unknown {
  return isJsonObject(item) ? item.id : item;
}
