import { type RunnablePolicy, runPolicy } from "@berth/policy-sandbox";
import {
  isBerthError,
  isJsonObject,
  type Principal,
  type QueryRunner,
  valueAt,
  withMember,
} from "@berth/service-kit";
import type { FoundCandidates } from "../allocation/candidate-finder.ts";
import { hostClients, rankingClients } from "../allocation/host-clients.ts";
import { isRanking, type RankingDeps, rankedIds } from "../allocation/rank-clusters.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { DryRunOutcome } from "./dry-runs.ts";
import type { PlacementRequest, PolicyChoice } from "./placement-request.ts";

/** A cluster that could take the block. */
export type Fitting = Extract<DryRunOutcome, { kind: "fits" }>;

/** What {@link openChooser} needs. */
export interface ChooserDeps extends RankingDeps {
  readonly queries: QueryRunner;
}

/** For whom, and among what, a chooser chooses. */
export interface ChooserScope {
  readonly principal: Principal;
  readonly request: Pick<PlacementRequest, "blockId" | "entryJson" | "ranking" | "blockPolicy">;
  readonly found: FoundCandidates;
  readonly signal: AbortSignal;
}

/** Chooses among clusters: by a policy or by what dry runs say. Rejects with what the policy fails with. */
export interface ClusterChooser {
  /** Ids of the clusters to ask, in this order. */
  selected(views: readonly ClusterView[]): Promise<readonly string[]>;
  /** Ids of those that shall take the block, the best one first. */
  ranked(answers: readonly Fitting[]): Promise<readonly string[]>;
  /** Why a cluster that could take the block was left out. */
  readonly leftOut: string;
  readonly warnings: readonly string[];
}

/**
 * The chooser of a request: the ranking policy that it names; else the policy of the block's own `policies.clusterAllocator`;
 * else the highest score. A policy of the entry that the registry does not have is warned of and not run: the existing
 * deployment, for which entries were written, never ran it. NOT_FOUND for one that the request names.
 */
export async function openChooser(scope: ChooserScope, deps: ChooserDeps): Promise<ClusterChooser> {
  const { principal, request } = scope;
  const { ranking, blockPolicy } = request;
  if (ranking !== undefined) {
    const policy = await deps.policies.runnable(principal.orgId, ranking.policyRuleUri);
    return rankingChooser({ ...ranking, policy }, scope, deps);
  }
  if (blockPolicy === undefined) return highestScore([]);
  try {
    const policy = await deps.policies.runnable(principal.orgId, blockPolicy.policyRuleUri);
    return blockChooser({ ...blockPolicy, policy }, scope, deps);
  } catch (thrown) {
    if (!isBerthError(thrown) || thrown.reason !== "NOT_FOUND") throw thrown;
    return highestScore([unknownBlockPolicy(blockPolicy.policyRuleUri)]);
  }
}

/** What is said of a block whose own policy is not in the registry. */
export function unknownBlockPolicy(uri: string): string {
  const name = JSON.stringify(uri.slice(0, MAX_SHOWN_URI));
  return `policies.clusterAllocator: there is no policy ${name}; the highest score decides`;
}

const MAX_SHOWN_URI = 200;

interface OpenChoice extends PolicyChoice {
  readonly policy: RunnablePolicy;
}

function highestScore(warnings: readonly string[]): ClusterChooser {
  return {
    selected: async (views) => views.map(({ id }) => id),
    ranked: async (answers) => byScore(answers),
    leftOut: "its score is too low",
    warnings,
  };
}

/** A policy that a request names: it is given the documents of those that could take the block, each with its dry run. */
function rankingChooser(
  choice: OpenChoice,
  scope: ChooserScope,
  deps: ChooserDeps,
): ClusterChooser {
  const { found, request } = scope;
  const warnings: string[] = [];
  const clients = rankingClients(() => found.sight, deps.queries);
  return {
    ...highestScore(warnings),
    ranked: async (answers: readonly Fitting[]) => {
      if (answers.length === 0) return [];
      const documents = answers.map(({ clusterId, answer }) => {
        const withRun = withMember(documentOf(found, clusterId), "dry_run", answer.dataJson);
        return withMember(withRun, "block_id", JSON.stringify(request.blockId));
      });
      const inputJson = `[${documents.join(",")}]`;
      const ids = await decided(choice, { scope, deps, clients, inputJson });
      return givenOnly(ids, idsOf(answers), { choice, warnings });
    },
    leftOut: `the ranking policy ${choice.policyRuleUri} did not return it`,
  };
}

/**
 * The policy of a block, with the two calls of the existing deployment (existing-cluster-controller §12.2): `selection` of the
 * clusters to ask, and the choice among their answers, `post_dry_run`.
 */
function blockChooser(choice: OpenChoice, scope: ChooserScope, deps: ChooserDeps): ClusterChooser {
  const { found, request } = scope;
  const warnings: string[] = [];
  const clients = hostClients(() => found.sight, deps.queries);
  const run = (inputJson: string) => decided(choice, { scope, deps, clients, inputJson });
  return {
    selected: async (views) => {
      if (views.length === 0) return [];
      const documents = views.map(({ documentJson }) => documentJson).join(",");
      const input = `{"filter_result":[${documents}],"block_data":${request.entryJson},"action":"selection"}`;
      const given = views.map(({ id }) => id);
      return givenOnly(await run(input), given, { choice, warnings });
    },
    ranked: async (answers) => {
      if (answers.length === 0) return [];
      const clusters = answers.map(({ clusterId, answer }) => {
        const cluster = documentOf(found, clusterId);
        const score = scoreData(answer.dataJson);
        return `{"id":${JSON.stringify(clusterId)},"cluster":${cluster},"score_data":${score},"block_data":${request.entryJson}}`;
      });
      const ids = await run(`{"clusters":[${clusters.join(",")}],"action":"post_dry_run"}`);
      return givenOnly(ids, idsOf(answers), { choice, warnings });
    },
    leftOut: `the block's policy ${choice.policyRuleUri} did not choose it`,
    warnings,
  };
}

/** Only what a policy was given can be chosen; of anything else there is a warning. */
function givenOnly(
  ids: readonly string[],
  given: readonly string[],
  { choice, warnings }: { readonly choice: OpenChoice; readonly warnings: string[] },
): readonly string[] {
  const known = new Set(given);
  const strangers = ids.filter((id) => !known.has(id));
  for (const id of strangers.slice(0, MAX_STRANGERS)) {
    const name = JSON.stringify(id.slice(0, MAX_SHOWN_URI));
    warnings.push(`policy ${choice.policyRuleUri} returned ${name}, which it was not given`);
  }
  return ids.filter((id) => known.has(id));
}

/** Warnings of one choice about what a policy made up. */
const MAX_STRANGERS = 3;

function idsOf(answers: readonly Fitting[]): readonly string[] {
  return answers.map(({ clusterId }) => clusterId);
}

interface Decision {
  readonly scope: ChooserScope;
  readonly deps: ChooserDeps;
  readonly clients: ReturnType<typeof hostClients>;
  readonly inputJson: string;
}

/** Ids that the policy returns: documents or ids, one or a list, as such or as `{"clusters": …}`. */
async function decided(
  { policy, policyRuleUri, parameters, settings }: OpenChoice,
  { scope, deps, clients, inputJson }: Decision,
): Promise<readonly string[]> {
  const { principal, signal } = scope;
  const run = await runPolicy(
    {
      ...{ orgId: principal.orgId, policy, kind: "ranking", parameters, settings, signal },
      ...{ inputJson, fieldPrefix: "", clients },
      accept: (resultJson) => isRanking(clustersIn(resultJson)),
    },
    deps,
  );
  if (run.kind === "failed") throw run.error;
  const resultJson = JSON.stringify(clustersIn(run.resultJson));
  return rankedIds({ ...run, resultJson }, policyRuleUri);
}

function clustersIn(resultJson: string): unknown {
  const result: unknown = JSON.parse(resultJson);
  return isJsonObject(result) && result.clusters !== undefined ? result.clusters : result;
}

function scoreData(dataJson: string): string {
  const told = valueAt(dataJson, ["selection_score_data"]);
  return told === undefined ? "{}" : dataJson.slice(told.start, told.end);
}

function documentOf({ sight }: FoundCandidates, clusterId: string): string {
  return sight.get(clusterId)?.documentJson ?? JSON.stringify({ id: clusterId });
}

/** The highest score first; of equal ones in the order in which they were asked. */
function byScore(answers: readonly Fitting[]): readonly string[] {
  const best = answers.toSorted((one, other) => other.answer.score - one.answer.score);
  return best.map(({ clusterId }) => clusterId);
}
