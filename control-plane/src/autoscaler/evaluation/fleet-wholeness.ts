/** What {@link fleetWholeness} looks at. */
export interface WholenessDeps {
  /** Clusters that had an agent before this program's start, and were not heard since. */
  readonly unheard: () => Promise<readonly string[]>;
  /** Milliseconds since the start. */
  readonly sinceStartMs: () => number;
}

/** A cluster that is not heard for so long after the start is lost, ms: it is not waited for. */
export const LOST_AFTER_MS = 300_000;

/** Tells which clusters are missing in the view of the fleet. Nothing is missing any more five minutes after the start. */
export function fleetWholeness(deps: WholenessDeps): () => Promise<readonly string[]> {
  const { unheard, sinceStartMs } = deps;
  return async () => (sinceStartMs() >= LOST_AFTER_MS ? [] : unheard());
}
