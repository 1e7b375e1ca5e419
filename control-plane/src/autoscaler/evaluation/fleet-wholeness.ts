import type { FleetSnapshot } from "../../fleet/cluster-view.ts";

/** What {@link fleetWholeness} looks at. */
export interface WholenessDeps {
  /** Clusters that had an agent when this program was started. */
  readonly known: ReadonlySet<string>;
  readonly snapshot: () => Promise<FleetSnapshot>;
  /** Milliseconds since the start. */
  readonly sinceStartMs: () => number;
}

/** A cluster that is not heard for so long after the start is lost, ms: it is not waited for. */
export const LOST_AFTER_MS = 300_000;

/**
 * Tells which clusters are missing in the view of the fleet: they had an agent before this start, are registered still, and were not heard
 * since. Nothing is missing any more five minutes after the start.
 */
export function fleetWholeness(deps: WholenessDeps): () => Promise<readonly string[]> {
  const { known, snapshot, sinceStartMs } = deps;
  return async () => {
    if (known.size === 0 || sinceStartMs() >= LOST_AFTER_MS) return [];
    const { clusters } = await snapshot();
    return [...known].filter((id) => clusters.get(id)?.health === "unknown").sort();
  };
}
