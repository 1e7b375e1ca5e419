import { clusterIdOf, type FleetSize } from "../fleet/fleet-plan.ts";
import { mixedHash } from "../sources/mixed-hash.ts";
import { type Fault, scopeOf } from "./fault.ts";

/** What a fault strikes, by numbers. */
export interface FaultTarget {
  readonly cluster: number;
  /** Absent when the cluster is struck. */
  readonly node?: number;
  /** Absent unless a GPU is struck. */
  readonly gpu?: number;
}

/** The fleet that is struck. */
export interface StruckFleet {
  readonly name: string;
  readonly size: FleetSize;
}

/**
 * Finds what a fault strikes; what it leaves open is drawn by the seed and the number of the fault. Throws
 * an Error that names what the fleet does not have.
 */
export function chooseTarget(
  fault: Fault,
  { name, size }: StruckFleet,
  draw: { readonly seed: number; readonly count: number },
): FaultTarget {
  const { seed, count } = draw;
  const pick = (asked: number | undefined, most: number, salt: number, noun: string) => {
    const one = asked ?? (most === 0 ? 0 : mixedHash(seed, 3 * count + salt) % most);
    if (one < most) return one;
    const has = most === 0 ? "none" : `0 to ${most - 1}`;
    throw new Error(`${fault.kind}: the fleet has no ${noun} ${one} (it has ${has})`);
  };
  const asked = fault.cluster === undefined ? undefined : clusterOf(fault.cluster, { name, size });
  const scope = scopeOf(fault.kind);
  const cluster = pick(asked, size.clusters, 0, "cluster");
  if (scope === "cluster") return { cluster };
  const node = pick(fault.node, size.nodesPerCluster, 1, "node");
  if (scope === "node") return { cluster, node };
  return { cluster, node, gpu: pick(fault.gpu, size.gpusPerNode, 2, "GPU") };
}

/** "sim-0/node-1/3" in the fleet "sim". */
export function targetText({ cluster, node, gpu }: FaultTarget, fleetName: string): string {
  const parts = [clusterIdOf(fleetName, cluster)];
  if (node !== undefined) parts.push(`node-${node}`);
  if (gpu !== undefined) parts.push(String(gpu));
  return parts.join("/");
}

function clusterOf(id: string, { name, size }: StruckFleet): number {
  const [, of, number] = /^(.*)-(\d+)$/.exec(id) ?? [];
  if (of === name && number !== undefined && Number(number) < size.clusters) return Number(number);
  const [first, last] = [clusterIdOf(name, 0), clusterIdOf(name, size.clusters - 1)];
  throw new Error(`the fleet has no cluster ${id} (it has ${first} to ${last})`);
}
