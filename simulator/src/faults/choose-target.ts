import type { FleetSize } from "../fleet/fleet-plan.ts";
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

/**
 * Finds what a fault strikes; what it leaves open is drawn by the seed and the number of the fault. Throws
 * an Error that names what the fleet does not have.
 */
export function chooseTarget(
  fault: Fault,
  size: FleetSize,
  draw: { readonly seed: number; readonly count: number },
): FaultTarget {
  const { seed, count } = draw;
  const pick = (asked: number | undefined, most: number, salt: number, noun: string) => {
    const one = asked ?? (most === 0 ? 0 : mixedHash(seed, 3 * count + salt) % most);
    if (one < most) return one;
    const has = most === 0 ? "none" : `0 to ${most - 1}`;
    throw new Error(`${fault.kind}: the fleet has no ${noun} ${one} (it has ${has})`);
  };
  const asked = fault.cluster === undefined ? undefined : Number(fault.cluster.slice(4));
  const scope = scopeOf(fault.kind);
  const cluster = pick(asked, size.clusters, 0, "cluster");
  if (scope === "cluster") return { cluster };
  const node = pick(fault.node, size.nodesPerCluster, 1, "node");
  if (scope === "node") return { cluster, node };
  return { cluster, node, gpu: pick(fault.gpu, size.gpusPerNode, 2, "GPU") };
}

/** "sim-0/node-1/3". */
export function targetText({ cluster, node, gpu }: FaultTarget): string {
  const parts = [`sim-${cluster}`];
  if (node !== undefined) parts.push(`node-${node}`);
  if (gpu !== undefined) parts.push(String(gpu));
  return parts.join("/");
}
