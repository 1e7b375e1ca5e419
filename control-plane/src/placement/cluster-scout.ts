import { runPolicy } from "@berth/policy-sandbox";
import { type Principal, sleep, withMember } from "@berth/service-kit";
import type { CandidateFinder, FoundCandidates } from "../allocation/candidate-finder.ts";
import { rankingClients } from "../allocation/host-clients.ts";
import { isRanking, type RankingDeps, rankedIds } from "../allocation/rank-clusters.ts";
import type { AgentApi, FleetBlocks } from "../fleet/agent-api.ts";
import { emptierFirst, roomIn } from "./cluster-room.ts";
import { type DryRunOutcome, type DryRunTimes, dryRuns } from "./dry-runs.ts";
import { leasedPlaces } from "./placement-course.ts";
import type { RankedCluster, TriedCluster } from "./placement-record.ts";
import type { PlacementRequest } from "./placement-request.ts";

/** What {@link ClusterScout} needs. */
export interface ClusterScoutDeps extends RankingDeps {
  readonly finder: CandidateFinder;
  readonly agents: AgentApi;
  readonly blocks: FleetBlocks;
  /** Tests' own. */
  readonly times?: DryRunTimes | undefined;
}

/** What a look at the fleet came to. */
export interface Scouted {
  /** Clusters that can take the block, the best one first. */
  readonly ranked: readonly RankedCluster[];
  readonly refused: readonly TriedCluster[];
  readonly warnings: readonly string[];
  /** Clusters that the request selected, by id, as they were looked at. */
  readonly found: FoundCandidates;
  readonly answers: readonly Fitting[];
}

type Fitting = Extract<DryRunOutcome, { kind: "fits" }>;

/** Groups of clusters that are asked, one after the other, when nobody of the one before can take the block. */
const MAX_GROUPS = 4;
/** Longest wait for the view of a cluster to catch up with what it was just asked, ms. */
const CATCH_UP_MS = 250;
const LOOK_INTERVAL_MS = 10;

/** Finds out which clusters can take a block, and which of them is the best. */
export class ClusterScout {
  readonly #deps: ClusterScoutDeps;

  constructor(deps: ClusterScoutDeps) {
    this.#deps = deps;
  }

  /**
   * Candidates, those that may have room by what is known of them, dry runs on the emptiest `topK` of these, ranking. Takes
   * nothing. Throws what the selection or the ranking policy fails with, and the signal's reason.
   */
  async scout(
    principal: Principal,
    request: PlacementRequest,
    signal: AbortSignal,
  ): Promise<Scouted> {
    const found = await this.#deps.finder.find(principal, request.selection, signal);
    const refused: TriedCluster[] = found.dropped.map(({ id: clusterId, reason: message }) => {
      return { clusterId, step: "view", reason: "UNAVAILABLE", message };
    });
    const roomy = await this.#roomy(found, request, { refused, signal });
    const { topK, entryJson } = request;
    const answers: Fitting[] = [];
    for (let group = 0; group < MAX_GROUPS && answers.length === 0; group += 1) {
      const clusterIds = roomy.slice(group * topK, (group + 1) * topK);
      if (clusterIds.length === 0) break;
      const { agents, times } = this.#deps;
      const more = { signal, ...(times === undefined ? {} : { times }) };
      for (const one of await dryRuns(agents, { clusterIds, entryJson }, more)) {
        if (one.kind === "fits") answers.push(one);
        else refused.push(one.refused);
      }
    }
    const ids = await this.#ranking(principal, request, { found, answers, signal });
    const byId = new Map(answers.map((one) => [one.clusterId, one.answer]));
    const ranked = ids.flatMap((clusterId): RankedCluster[] => {
      const answer = byId.get(clusterId);
      if (answer === undefined) return [];
      const places = leasedPlaces(answer.places, request.need.planned);
      return [{ clusterId, score: answer.score, places }];
    });
    const chosen = new Set(ids);
    for (const { clusterId } of answers) {
      if (!chosen.has(clusterId)) refused.push(rankedOut(clusterId, request));
    }
    return { ranked, refused, warnings: found.warnings, found, answers };
  }

  /** Ids of the candidates that may have room, the emptiest first. */
  async #roomy(
    { candidates }: FoundCandidates,
    { need }: PlacementRequest,
    { refused, signal }: { readonly refused: TriedCluster[]; readonly signal: AbortSignal },
  ): Promise<readonly string[]> {
    const { blocks } = this.#deps;
    const untilMs = performance.now() + CATCH_UP_MS;
    const isBehind = () => candidates.some(({ id }) => blocks.of(id)?.isBehind === true);
    while (isBehind() && performance.now() < untilMs) await sleep(LOOK_INTERVAL_MS, signal);
    signal.throwIfAborted();
    const roomy = candidates.flatMap((view) => {
      const room = roomIn(view, blocks.of(view.id), need);
      if (room.kind === "may") return [{ id: view.id, room }];
      const { reason, message } = room;
      refused.push({ clusterId: view.id, step: "view", reason, message });
      return [];
    });
    return roomy.toSorted((a, b) => emptierFirst(a.room, b.room)).map(({ id }) => id);
  }

  /** Ids of those that can take it in the order of the ranking policy, or the highest score first. */
  async #ranking(
    principal: Principal,
    { ranking, blockId }: PlacementRequest,
    look: {
      readonly found: FoundCandidates;
      readonly answers: readonly Fitting[];
      readonly signal: AbortSignal;
    },
  ): Promise<readonly string[]> {
    const { found, answers, signal } = look;
    if (ranking === undefined || answers.length === 0) return byScore(answers);
    const { policyRuleUri: uri, parameters, settings } = ranking;
    const policy = await this.#deps.policies.runnable(principal.orgId, uri);
    const run = await runPolicy(
      {
        ...{ orgId: principal.orgId, policy, kind: "ranking", parameters, settings, signal },
        inputJson: rankingInput(found, answers, blockId),
        fieldPrefix: "",
        clients: rankingClients(() => found.sight, this.#deps.finder.queries),
        accept: (resultJson) => isRanking(JSON.parse(resultJson)),
      },
      this.#deps,
    );
    if (run.kind === "failed") throw run.error;
    return rankedIds(run, uri);
  }
}

/** The highest score first; of equal ones in the order in which they were asked. */
function byScore(answers: readonly Fitting[]): readonly string[] {
  const best = answers.toSorted((one, other) => other.answer.score - one.answer.score);
  return best.map(({ clusterId }) => clusterId);
}

/** The documents of the clusters, each with what its dry run came to, all numbers as they were written. */
function rankingInput(
  { sight }: FoundCandidates,
  answers: readonly Fitting[],
  blockId: string,
): string {
  const texts = answers.map(({ clusterId, answer }) => {
    const document = sight.get(clusterId)?.documentJson ?? JSON.stringify({ id: clusterId });
    const withRun = withMember(document, "dry_run", answer.dataJson);
    return withMember(withRun, "block_id", JSON.stringify(blockId));
  });
  return `[${texts.join(",")}]`;
}

function rankedOut(clusterId: string, { ranking }: PlacementRequest): TriedCluster {
  const message = `the ranking policy ${ranking?.policyRuleUri ?? ""} did not return it`;
  return { clusterId, step: "ranking", reason: "UNSCHEDULABLE", message };
}
