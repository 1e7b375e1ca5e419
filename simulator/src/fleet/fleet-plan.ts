/** Size of a simulated fleet. */
export interface FleetSize {
  readonly clusters: number;
  readonly nodesPerCluster: number;
  readonly gpusPerNode: number;
}

/** How often a fleet's nodes sample, and when they count as silent, in ms. */
export interface FleetIntervals {
  readonly gpuMs: number;
  readonly hostMs: number;
  readonly ttlMs: number;
}

/** Form of a fleet's name: the ids of its clusters are `<name>-<number>`. */
export const FLEET_NAME = /^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$/;

/** Largest fleet that one process holds. */
export const FLEET_LIMITS = { clusters: 1_000, nodes: 20_000, gpusPerNode: 64 } as const;

/** GPU rounds per second over all nodes that one process keeps up with at ease. */
const ROUNDS_PER_S = 160;
const FIRST_PORT = 32_000;
const PORT_STEP = 10;
const LAST_PORT = 65_535;

/** Reads "3x4x8": clusters, nodes of each, GPUs of each node. Throws an Error that says what is expected. */
export function parseFleetSize(text: string): FleetSize {
  const [, c, n, g] = /^(\d{1,5})x(\d{1,5})x(\d{1,5})$/.exec(text.trim().toLowerCase()) ?? [];
  const size = {
    clusters: Number(c ?? 0),
    nodesPerCluster: Number(n ?? 0),
    gpusPerNode: Number(g ?? -1),
  };
  const { clusters, nodesPerCluster, gpusPerNode } = size;
  const nodes = clusters * nodesPerCluster;
  const fits =
    clusters >= 1 &&
    clusters <= FLEET_LIMITS.clusters &&
    nodes >= 1 &&
    nodes <= FLEET_LIMITS.nodes &&
    gpusPerNode >= 0 &&
    gpusPerNode <= FLEET_LIMITS.gpusPerNode;
  if (fits) return size;
  throw new Error(
    `expected clusters x nodes x GPUs such as 3x4x8: at most ${FLEET_LIMITS.clusters} clusters, ${FLEET_LIMITS.nodes} nodes in all, ${FLEET_LIMITS.gpusPerNode} GPUs per node`,
  );
}

/** "3x4x8". */
export function fleetText({ clusters, nodesPerCluster, gpusPerNode }: FleetSize): string {
  return `${clusters}x${nodesPerCluster}x${gpusPerNode}`;
}

/**
 * Intervals of a fleet: GPUs every `intervalMs`, or, when that is 0, every second and in large fleets in as
 * many seconds as one process needs to keep up. Hosts every 5 s at least; three of the longer are the TTL.
 */
export function fleetIntervals(size: FleetSize, intervalMs: number): FleetIntervals {
  const nodes = size.clusters * size.nodesPerCluster;
  const gpuMs = intervalMs > 0 ? intervalMs : Math.max(1, Math.ceil(nodes / ROUNDS_PER_S)) * 1_000;
  const hostMs = Math.max(5_000, gpuMs);
  return { gpuMs, hostMs, ttlMs: 3 * hostMs };
}

/** Id of the cluster with this number in the fleet of this name. */
export function clusterIdOf(fleetName: string, cluster: number): string {
  return `${fleetName}-${cluster}`;
}

/** Id of the node with this number in the cluster. */
export function nodeIdOf(clusterId: string, node: number): string {
  return `${clusterId}-node-${node}`;
}

/** Ports that the cluster with this number asks for; 0 (any) beyond the last port. */
export function clusterPorts(cluster: number): { readonly http: number; readonly node: number } {
  const http = FIRST_PORT + PORT_STEP * cluster;
  return http + 1 > LAST_PORT ? { http: 0, node: 0 } : { http, node: http + 1 };
}
