/**
 * What is known of a node-agent: `live` = heard within the TTL; `telemetry_lost` = silent for longer,
 * or two agents speak for it; `unknown` = known from the store, not heard since our own start, and that is less than one TTL ago.
 * Nothing is placed on a node that is not live.
 */
export type Liveness = "live" | "telemetry_lost" | "unknown";

/** Times in ms of one monotonic clock. */
export interface LivenessFacts {
  readonly nowMs: number;
  /** When this cluster-agent started. */
  readonly startedAtMs: number;
  /** When the node was last heard; absent when not since our start. */
  readonly heardAtMs?: number | undefined;
  /** Silence before this moment counts for nothing. */
  readonly excusedAtMs?: number | undefined;
  readonly ttlMs: number;
  /** Two agents speak for the node: neither is believed. */
  readonly duplicate?: boolean;
}

/**
 * The verdict on a node. A node is lost exactly when it was silent for more than the TTL, of what is not excused, or
 * is a duplicate.
 */
export function livenessOf(facts: LivenessFacts): Liveness {
  const { nowMs, startedAtMs, heardAtMs, excusedAtMs, ttlMs } = facts;
  if (facts.duplicate === true) return "telemetry_lost";
  const toldAtMs = heardAtMs ?? startedAtMs;
  const silentFromMs = Math.max(toldAtMs, excusedAtMs ?? toldAtMs);
  if (nowMs - silentFromMs > ttlMs) return "telemetry_lost";
  return heardAtMs === undefined ? "unknown" : "live";
}
