import { type Principal, sleep } from "@berth/service-kit";
import type { CandidateFinder, FoundCandidates } from "../allocation/candidate-finder.ts";
import type { RankingDeps } from "../allocation/rank-clusters.ts";
import type { AgentApi, FleetBlocks } from "../fleet/agent-api.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { type ClusterChooser, type Fitting, openChooser } from "./cluster-chooser.ts";
import { emptierFirst, roomIn } from "./cluster-room.ts";
import { type DryRunTimes, dryRuns } from "./dry-runs.ts";
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
   * Candidates, those that may have room by what is known of them, dry runs on the first `topK` of these, ranking. Takes
   * nothing. Throws what the selection or a policy that chooses fails with, and the signal's reason.
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
    const deps = { ...this.#deps, queries: this.#deps.finder.queries };
    const chooser = await openChooser({ principal, request, found, signal }, deps);
    const roomy = await this.#roomy(found, request, { refused, signal });
    const selected = await chooser.selected(roomy);
    leftOut(idsOf(roomy), selected, { chooser, refused });
    const { topK, entryJson } = request;
    const answers: Fitting[] = [];
    for (let group = 0; group < MAX_GROUPS && answers.length === 0; group += 1) {
      const clusterIds = selected.slice(group * topK, (group + 1) * topK);
      if (clusterIds.length === 0) break;
      const { agents, times } = this.#deps;
      const more = { signal, ...(times === undefined ? {} : { times }) };
      for (const one of await dryRuns(agents, { clusterIds, entryJson }, more)) {
        if (one.kind === "fits") answers.push(one);
        else refused.push(one.refused);
      }
    }
    const ids = await chooser.ranked(answers);
    const byId = new Map(answers.map((one) => [one.clusterId, one.answer]));
    const ranked = ids.flatMap((clusterId): RankedCluster[] => {
      const answer = byId.get(clusterId);
      if (answer === undefined) return [];
      const places = leasedPlaces(answer.places, request.need.planned);
      return [{ clusterId, score: answer.score, places }];
    });
    const fitting = answers.map(({ clusterId }) => clusterId);
    leftOut(fitting, ids, { chooser, refused });
    const warnings = [...found.warnings, ...chooser.warnings];
    return { ranked, refused, warnings, found, answers };
  }

  /** The candidates that may have room, the emptiest first. */
  async #roomy(
    { candidates }: FoundCandidates,
    { need }: PlacementRequest,
    { refused, signal }: { readonly refused: TriedCluster[]; readonly signal: AbortSignal },
  ): Promise<readonly ClusterView[]> {
    const { blocks } = this.#deps;
    const untilMs = performance.now() + CATCH_UP_MS;
    const isBehind = () => candidates.some(({ id }) => blocks.of(id)?.isBehind === true);
    while (isBehind() && performance.now() < untilMs) await sleep(LOOK_INTERVAL_MS, signal);
    signal.throwIfAborted();
    const roomy = candidates.flatMap((view) => {
      const room = roomIn(view, blocks.of(view.id), need);
      if (room.kind === "may") return [{ view, room }];
      const { reason, message } = room;
      refused.push({ clusterId: view.id, step: "view", reason, message });
      return [];
    });
    return roomy.toSorted((a, b) => emptierFirst(a.room, b.room)).map(({ view }) => view);
  }
}

/** Says of those that were not chosen why not. */
function leftOut(
  given: readonly string[],
  chosen: readonly string[],
  { chooser, refused }: { readonly chooser: ClusterChooser; readonly refused: TriedCluster[] },
): void {
  const ids = new Set(chosen);
  for (const clusterId of given) {
    if (ids.has(clusterId)) continue;
    refused.push({ clusterId, step: "ranking", reason: "UNSCHEDULABLE", message: chooser.leftOut });
  }
}

function idsOf(views: readonly ClusterView[]): readonly string[] {
  return views.map(({ id }) => id);
}
