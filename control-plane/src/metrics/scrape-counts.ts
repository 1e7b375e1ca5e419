import { gpuCounts, type KnownGpuState } from "../fleet/cluster-totals.ts";
import type { ClusterHealth, ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";

/** What is told of one cluster when Prometheus asks. */
export interface ScrapedCluster {
  readonly id: string;
  readonly isUp: boolean;
  readonly nodes: number;
  readonly gpus: ReadonlyMap<KnownGpuState, number>;
}

/** What is told of all clusters. */
export interface FleetCounts {
  readonly clusters: ReadonlyMap<ClusterHealth, number>;
  readonly nodes: number;
  readonly gpus: ReadonlyMap<KnownGpuState, number>;
  /** One by one, in the order of their ids. */
  readonly each: readonly ScrapedCluster[];
}

/** Nothing is known yet. */
export const NO_COUNTS: FleetCounts = { clusters: new Map(), nodes: 0, gpus: new Map(), each: [] };

/** Counts a fleet, with pauses. What was counted of a view is taken from `known`, and kept there. */
export function* fleetCounts(
  fleet: FleetSnapshot,
  known: WeakMap<ClusterView, ScrapedCluster>,
): Generator<void, FleetCounts> {
  const clusters = new Map<ClusterHealth, number>();
  const gpus = new Map<KnownGpuState, number>();
  const each: ScrapedCluster[] = [];
  let nodes = 0;
  for (const view of fleet.clusters.values()) {
    const cluster = known.get(view) ?? scrapedCluster(view);
    known.set(view, cluster);
    each.push(cluster);
    nodes += cluster.nodes;
    add(clusters, view.health, 1);
    for (const [state, count] of cluster.gpus) add(gpus, state, count);
    yield;
  }
  return { clusters, nodes, gpus, each };
}

function scrapedCluster(view: ClusterView): ScrapedCluster {
  const { byState } = gpuCounts(view);
  const nodes = view.document.nodes?.nodeData?.length ?? 0;
  return { id: view.id, isUp: view.health === "live", nodes, gpus: byState };
}

function add<K>(counts: Map<K, number>, key: K, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
