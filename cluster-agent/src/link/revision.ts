const COUNTER_BITS = 40n;

/**
 * First revision of an agent incarnation. A key's revision is this plus a counter in memory, so it rises
 * over restarts too without a write at each change: 2^40 changes per start, 2^24 starts.
 */
export function revisionBase(agentIncarnation: bigint): bigint {
  return agentIncarnation << COUNTER_BITS;
}
