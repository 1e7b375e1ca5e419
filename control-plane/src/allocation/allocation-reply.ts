import type { HoldOutcome } from "./holder.ts";
import type { PlacedGpu, TakenGpu } from "./placement.ts";

/** A successful answer: the placement, or why there is none; `warnings` name ids that are unknown. */
export interface AllocationReply {
  readonly success: true;
  /** `{cluster_id, node_id?, gpus?}` with the policy's extra keys, or a list of them. */
  readonly data: unknown;
  /** Names the decision's record. */
  readonly decision_id: string;
  /** Whether what is chosen is leased; absent when no lease was asked for. */
  readonly held?: boolean;
  /** Of one placement that is held. */
  readonly lease_id?: string;
  /** Of a list of placements that are held, in their order. */
  readonly lease_ids?: readonly string[];
  /** Of what is held, ms. */
  readonly ttl_ms?: number;
  /** Why it is not held, for people. */
  readonly hold_refused?: string;
  /** For programs; present when a quota has no room for it. */
  readonly hold_reason?: string;
  readonly warnings?: readonly string[];
}

/** What the answer to a request with a hold tells of it. */
export function holdFields(outcome: HoldOutcome | undefined, data: unknown) {
  if (outcome === undefined) return { held: false };
  if (outcome.kind !== "held") {
    const reason = outcome.kind === "refused" ? outcome.reason : undefined;
    const more = reason === undefined ? {} : { hold_reason: reason };
    return { held: false, hold_refused: outcome.why, ...more };
  }
  const { leaseIds, ttlMs } = outcome;
  const [leaseId = ""] = leaseIds;
  const ids = Array.isArray(data) ? { lease_ids: leaseIds } : { lease_id: leaseId };
  return { held: true, ...ids, ttl_ms: ttlMs };
}

/** What is told of a GPU that a policy chose although others have it. */
export function takenText({ clusterId, nodeId, slot, state }: TakenGpu): string {
  return `GPU ${slot} of node ${nodeId} in cluster ${clusterId} is ${state}`;
}

/** What is told of a GPU that others were given while the policy ran. */
export function contestedText({ clusterId, nodeId, slot }: PlacedGpu): string {
  return `GPU ${slot} of node ${clusterId}/${nodeId} was just given to another caller`;
}
