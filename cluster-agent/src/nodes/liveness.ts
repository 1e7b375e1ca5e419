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
  /** Time since then in which we could not listen; it counts for nothing. 0 by default. */
  readonly excusedMs?: number | undefined;
  readonly ttlMs: number;
  /** Two agents speak for the node: neither is believed. */
  readonly duplicate?: boolean;
}

/**
 * The verdict on a node. A node is lost exactly when it was silent for more than the TTL, not counting what is
 * excused, or is a duplicate.
 */
export function livenessOf(facts: LivenessFacts): Liveness {
  if (facts.duplicate === true) return "telemetry_lost";
  if (silenceMs(facts) > facts.ttlMs) return "telemetry_lost";
  return facts.heardAtMs === undefined ? "unknown" : "live";
}

/** How long a node has been silent while we listened, since our start at most, ms. */
export function silenceMs(
  facts: Pick<LivenessFacts, "nowMs" | "startedAtMs" | "heardAtMs" | "excusedMs">,
): number {
  const { nowMs, startedAtMs, heardAtMs, excusedMs = 0 } = facts;
  return nowMs - (heardAtMs ?? startedAtMs) - excusedMs;
}
