import type { AgentBindings } from "./agent-bindings.ts";
import type { FleetSnapshot } from "./cluster-view.ts";

/** What {@link unheardClusters} looks at. */
export interface UnheardClustersDeps {
  readonly bindings: Pick<AgentBindings, "holders">;
  readonly snapshot: () => Promise<Pick<FleetSnapshot, "clusters">>;
}

/**
 * Tells which clusters had an agent before this program's start, were not removed, and were not heard since: what they have is there, and
 * nobody tells of it. In the order of their ids.
 */
export async function unheardClusters({
  bindings,
  snapshot,
}: UnheardClustersDeps): Promise<() => Promise<readonly string[]>> {
  const left = new Set((await bindings.holders()).keys());
  return async () => {
    const { clusters } = await snapshot();
    for (const id of left) if (clusters.has(id)) left.delete(id);
    if (left.size === 0) return [];
    const bound = await bindings.holders();
    for (const id of left) if (!bound.has(id)) left.delete(id);
    return [...left].sort();
  };
}
