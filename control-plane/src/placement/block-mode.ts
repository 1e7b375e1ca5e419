import { BerthError, isJsonObject, type Principal, parseLossless } from "@berth/service-kit";
import type { BlockModeRequest } from "../allocation/block-mode-request.ts";
import type { CandidateFinder } from "../allocation/candidate-finder.ts";
import type { RankingDeps } from "../allocation/rank-clusters.ts";
import { blockIdOf } from "./block-need.ts";
import { openChooser } from "./cluster-chooser.ts";
import type { ClusterScout } from "./cluster-scout.ts";
import { blockPolicyOf, clusterAllocatorSelection, readWanted } from "./placement-request.ts";

/** What {@link BlockMode} answers from. */
export interface BlockModeDeps {
  readonly finder: CandidateFinder;
  readonly scout: ClusterScout;
  /** What the block's own policy is run with. */
  readonly choosing: RankingDeps;
}

/**
 * The allocator's mode for blocks, for clients of the existing deployment: `{"input": <block>, "mode"}`. The candidates are
 * those of the filter in the block's `policies.clusterAllocator`, chosen among by its policy where the registry has it. Nothing is
 * taken.
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
    if (mode === "select_clusters") return this.#selected(principal, entry, signal);
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

  async #selected(
    principal: Principal,
    entry: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<object> {
    const { finder, choosing } = this.#deps;
    const found = await finder.find(principal, clusterAllocatorSelection(entry), signal);
    if (found.candidates.length === 0) throw nowhere("no results found in the filter", []);
    const blockPolicy = blockPolicyOf(entry);
    const request = {
      blockId: "",
      entryJson: JSON.stringify(entry),
      ranking: undefined,
      blockPolicy,
    };
    const scope = { principal, request, found, signal };
    const chooser = await openChooser(scope, { ...choosing, queries: finder.queries });
    const ids = await chooser.selected(found.candidates);
    if (ids.length === 0) throw nowhere(`no cluster: ${chooser.leftOut}`, []);
    const documents = ids.flatMap((id) => found.sight.get(id)?.documentJson ?? []);
    return { clusters: documents.map((json) => parseLossless(json)) };
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
