import type { Reason } from "@berth/service-kit";

/**
 * `choosing`: nothing of it is anywhere. `leasing`, `creating`, `waiting`: on the cluster of `current`, which may hold
 * something of it. `stuck`: what that cluster did is not known, or it can go neither on nor back; an operator retries or
 * abandons.
 */
export type PlacementPhase =
  | "choosing"
  | "leasing"
  | "creating"
  | "waiting"
  | "done"
  | "failed"
  | "stuck"
  | "abandoned";

/** Every {@link PlacementPhase}. */
export const PLACEMENT_PHASES: readonly PlacementPhase[] = [
  ...(["choosing", "leasing", "creating", "waiting"] as const),
  ...(["done", "failed", "stuck", "abandoned"] as const),
];

/** Where one instance is to go. */
export interface InstancePlace {
  readonly nodeId: string;
  /** GPUs as the cluster named them, JSON text. */
  readonly gpusJson: string;
}

/** A cluster that can take the block. */
export interface RankedCluster {
  readonly clusterId: string;
  /** 0-1. */
  readonly score: number;
  /** One for each instance, as far as the cluster named them. */
  readonly places: readonly InstancePlace[];
}

/** The cluster that is being tried. */
export interface PlacementAttempt extends RankedCluster {
  /** What the cluster knows the creation by: each attempt has its own, however often it is asked for. */
  readonly operationKey: string;
  /** Of `places`, in their order. */
  readonly leaseIds: readonly string[];
  /** Times that the places were lost to somebody else and asked for anew. */
  readonly refreshes: number;
  /** Times that the creation was asked for. */
  readonly sends: number;
  /** The creation, once it was accepted. */
  readonly operationId?: string;
}

/** A cluster that did not take the block. */
export interface TriedCluster {
  readonly clusterId: string;
  /**
   * What it was asked, or whose word it is: what is known of it here, itself, the ranking policy; `run` is a creation that
   * it accepted and took back.
   */
  readonly step: "view" | "dry_run" | "ranking" | "lease" | "create" | "run";
  readonly reason: string;
  readonly message: string;
  /** It is away, and was heard so recently that it may be back in seconds. */
  readonly mayReturn?: boolean;
}

/** Why a placement failed. */
export interface PlacementError {
  readonly reason: Reason;
  readonly message: string;
}

/** One block on its way to a cluster, from when it was asked for until it is forgotten. JSON as stored. */
export interface PlacementRecord {
  /** UUIDv7. */
  readonly id: string;
  readonly blockId: string;
  /** Of the client: the same key with the same request is the same placement. */
  readonly idempotencyKey?: string;
  /** SHA-256 of the request. */
  readonly requestDigest: string;
  /** What was asked for, JSON text with numbers as the client wrote them; gone when it is over. */
  readonly requestJson?: string;
  readonly phase: PlacementPhase;
  /** Times that the fleet was looked at. */
  readonly round: number;
  /** Attempts that were begun. */
  readonly attempts: number;
  readonly current?: PlacementAttempt;
  /** Clusters that come next, the best one first. */
  readonly queue: readonly RankedCluster[];
  readonly tried: readonly TriedCluster[];
  /** Clusters left out of `tried` because there are so many. */
  readonly triedMore: number;
  /** What it waits for, or why it is stuck, for people; absent while it goes on. */
  readonly waitsFor?: string;
  readonly warnings: readonly string[];
  readonly error?: PlacementError;
  /** Names the record of its decision, once it is over. */
  readonly decisionId: string;
  /** ISO 8601, for people. */
  readonly createdAt: string;
  /** ISO 8601, for people. */
  readonly updatedAt: string;
}

/** Whether nothing more will happen to a placement by itself or by an operator. */
export function isOver({ phase }: Pick<PlacementRecord, "phase">): boolean {
  return phase === "done" || phase === "failed" || phase === "abandoned";
}

/** The attempt of a placement that is on a cluster. */
export function attemptOf({ current }: Pick<PlacementRecord, "current">): PlacementAttempt {
  if (current === undefined) throw new Error("expected a placement with an attempt");
  return current;
}

/** A placement as clients read it; the entry of its block is not shown. */
export function placementDocument(record: PlacementRecord): Record<string, unknown> {
  const { id, blockId, phase, current, queue, error, waitsFor, warnings } = record;
  return {
    ...{ placement_id: id, block_id: blockId, phase },
    cluster_id: current?.clusterId ?? null,
    operation_id: current?.operationId ?? null,
    lease_ids: phase === "done" ? [] : (current?.leaseIds ?? []),
    score: current?.score ?? null,
    next: queue.map(({ clusterId }) => clusterId),
    tried: record.tried.map(triedDocument),
    ...(record.triedMore === 0 ? {} : { tried_more: record.triedMore }),
    ...(waitsFor === undefined ? {} : { waits_for: waitsFor }),
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(error === undefined ? {} : { error }),
    ...(record.idempotencyKey === undefined ? {} : { idempotency_key: record.idempotencyKey }),
    ...{ round: record.round, attempts: record.attempts, decision_id: record.decisionId },
    ...{ created_at: record.createdAt, updated_at: record.updatedAt },
  };
}

/** Why a cluster did not take a block, as clients read it. */
export function triedDocument({ clusterId, step, reason, message }: TriedCluster): object {
  return { cluster_id: clusterId, step, reason, message };
}
