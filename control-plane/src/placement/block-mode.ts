import { BerthError, isJsonObject, type Principal, parseLossless } from "@berth/service-kit";
import type { BlockModeRequest } from "../allocation/block-mode-request.ts";
import type { CandidateFinder } from "../allocation/candidate-finder.ts";
import { blockIdOf } from "./block-need.ts";
import type { ClusterScout } from "./cluster-scout.ts";
import { clusterAllocatorSelection, readWanted } from "./placement-request.ts";

/** What {@link BlockMode} answers from. */
export interface BlockModeDeps {
  readonly finder: CandidateFinder;
  readonly scout: ClusterScout;
}

/**
 * The allocator's mode for blocks, for clients of the existing deployment: `{"input": <block>, "mode"}`. The candidates are
 * those of the filter in the block's `policies.clusterAllocator`; as there, its policy is not run. Nothing is taken.
 */
export class BlockModeAnswers {
  readonly #deps: BlockModeDeps;

  constructor(deps: BlockModeDeps) {
    this.#deps = deps;
  }

  /**
   * The bare result, without an envelope: of `select_clusters` `{"clusters": [document, …]}`, of `dry_run` the best of them as
   * `{"id", "cluster", "score_data", "block_data"}`. UNSCHEDULABLE, with each cluster's reason, when there is none.
   */
  async answer(
    principal: Principal,
    { mode, entry }: BlockModeRequest,
    signal: AbortSignal,
  ): Promise<object> {
    checkClusterAllocator(entry);
    if (mode === "select_clusters") {
      const selection = clusterAllocatorSelection(entry);
      const found = await this.#deps.finder.find(principal, selection, signal);
      if (found.candidates.length === 0) throw nowhere("no results found in the filter", []);
      return { clusters: found.candidates.map((view) => parseLossless(view.documentJson)) };
    }
    blockIdOf(entry, "input.id");
    const request = readWanted({ block_data: entry, top_k: MOST_AT_ONCE });
    const { ranked, refused, answers, found } = await this.#deps.scout.scout(
      principal,
      request,
      signal,
    );
    const [best] = ranked;
    const answer = answers.find(({ clusterId }) => clusterId === best?.clusterId);
    if (answer === undefined) {
      const told = refused.map(({ clusterId, message }) => `${clusterId}: ${message}`);
      const isNone = found.candidates.length === 0;
      const message = isNone ? "no results found in the filter" : told.join("; ");
      throw nowhere(message.slice(0, MAX_MESSAGE), refused);
    }
    const { clusterId } = answer;
    const document = found.sight.get(clusterId)?.documentJson;
    const data = parseLossless(answer.answer.dataJson);
    return {
      id: clusterId,
      cluster: document === undefined ? { id: clusterId } : parseLossless(document),
      score_data: isJsonObject(data) ? data.selection_score_data : {},
      block_data: entry,
    };
  }
}

/** The existing deployment asks all that the filter finds. */
const MOST_AT_ONCE = 50;
const MAX_MESSAGE = 2_000;

function checkClusterAllocator({ policies }: Readonly<Record<string, unknown>>): void {
  if (isJsonObject(policies) && isJsonObject(policies.clusterAllocator)) return;
  const message = "input.policies.clusterAllocator: required field is missing";
  throw new BerthError("INVALID_ARGUMENT", message);
}

function nowhere(
  message: string,
  refused: readonly { readonly clusterId: string; readonly message: string }[],
): BerthError {
  const clusters = refused.map(({ clusterId, message: why }) => {
    return { cluster_id: clusterId, message: why };
  });
  return new BerthError("UNSCHEDULABLE", message, { details: { clusters } });
}
