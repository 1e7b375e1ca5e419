import type { GpuAmounts } from "../../org/quotas/gpu-amounts.ts";

/** How far a request has come. The last six are ends. */
export type ScaleState =
  | "awaiting_approval"
  | "pending"
  | "dispatched"
  | "confirmed"
  | "partial"
  | "failed"
  | "superseded"
  | "rejected";

/** Who wants it. */
export type ScaleOrigin = "autoscaler" | "adhoc";

/** What an allocator answered: the inner `response` of a confirmation, with whatever else it says. */
export interface ScaleResponse {
  /** "allocated", "failed". */
  readonly status: string;
  /** Replicas that there are now; absent when nobody can say. */
  readonly replicas?: number;
  /** For people. */
  readonly message?: string;
  readonly [more: string]: unknown;
}

/** What is sent to a cluster for a request: kept before it is sent, so that it is the same when it is sent again. */
export interface BlockOrder {
  readonly clusterId: string;
  readonly blockId: string;
  /** Instances to add; absent when some are to go. */
  readonly add?: number;
  /** Instances to end; absent when some are to come. */
  readonly end?: readonly string[];
}

/** A request to scale a quota's replicas. JSON as stored. */
export interface ScaleRequest {
  /** UUIDv7, so that requests are in the order in which they were made. */
  readonly uuid: string;
  readonly subjectId: string;
  readonly quotaId: string;
  /** Raised with each request of the quota: only the newest is applied. */
  readonly generation: number;
  /** Replicas that are wanted. */
  readonly replicas: number;
  /** Replicas that were desired before. */
  readonly before: number;
  readonly origin: ScaleOrigin;
  /** Why, for people. */
  readonly reason: string;
  /** The evaluation of the autoscaler that wants it. */
  readonly evaluationId?: string;
  readonly state: ScaleState;
  /** Time of day at which an approval ends that nobody has given, ms since 1970. */
  readonly approvalEndsAtMs?: number;
  readonly order?: BlockOrder;
  /** Replicas that its quota was charged for before; absent while it is not charged. */
  readonly chargedBefore?: number;
  /** What it was charged for these, thousandths of GPUs by flavor. */
  readonly gpusBefore?: GpuAmounts;
  /** It came to nothing before anything was sent: its charge is taken back. */
  readonly isUntouched?: true;
  /** What its applier has confirmed, which counts: the same is confirmed again after a restart. Absent when it is over. */
  readonly answer?: ScaleResponse;
  readonly response?: ScaleResponse;
  /** ISO 8601, for people. */
  readonly createdAt: string;
  /** ISO 8601, for people. */
  readonly updatedAt: string;
}

const OPEN: readonly ScaleState[] = ["awaiting_approval", "pending", "dispatched"];

/** Whether something is still to come of a request. */
export function isOpen({ state }: Pick<ScaleRequest, "state">): boolean {
  return OPEN.includes(state);
}

/** Whether it is the autoscaler's own and waits for a human: it gives way to what needs nobody. */
export function givesWay({ origin, state }: Pick<ScaleRequest, "origin" | "state">): boolean {
  return origin === "autoscaler" && state === "awaiting_approval";
}

/** What a confirmation makes of a request that was dispatched. */
export interface Completion {
  readonly state: "confirmed" | "partial" | "failed";
  /** Replicas that there are now; undefined when that is not known: what was before stays. */
  readonly replicas: number | undefined;
}

/** Words by which allocators say that a request came to nothing. */
const FAILED = ["failed", "failure", "error", "rejected", "refused", "unschedulable", "timeout"];

/**
 * Reads a confirmation: as many replicas as were wanted are "confirmed", another number is "partial"; a status that says so, or no number, is
 * "failed". Pure.
 */
export function completionOf(
  { replicas: wanted }: Pick<ScaleRequest, "replicas">,
  { status, replicas }: ScaleResponse,
): Completion {
  if (FAILED.includes(status.toLowerCase()) || replicas === undefined) {
    return { state: "failed", replicas };
  }
  return { state: replicas === wanted ? "confirmed" : "partial", replicas };
}

/** A request as clients read it. */
export function scaleRequestDocument(request: ScaleRequest): Record<string, unknown> {
  const { approvalEndsAtMs, order } = request;
  return {
    ...{ uuid: request.uuid, subject_id: request.subjectId, quota_id: request.quotaId },
    ...{ generation: request.generation, replicas: request.replicas, before: request.before },
    ...{ origin: request.origin, reason: request.reason, state: request.state },
    evaluation_id: request.evaluationId ?? null,
    ...(order === undefined ? {} : { cluster_id: order.clusterId, block_id: order.blockId }),
    ...(approvalEndsAtMs === undefined
      ? {}
      : { approval_ends_at: new Date(approvalEndsAtMs).toISOString() }),
    response: request.response ?? null,
    ...{ created_at: request.createdAt, updated_at: request.updatedAt },
  };
}
