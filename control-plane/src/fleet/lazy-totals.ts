import type { ClusterTotals } from "@berth/proto";

const NAMES = Object.keys({
  total_cpu: null,
  used_cpu: null,
  total_memory: null,
  used_memory: null,
  total_gpus: null,
  gpu_utilization: null,
} satisfies Record<keyof ClusterTotals, null>) as readonly (keyof ClusterTotals)[];

/**
 * Adds the totals of a cluster to a document that has been made for it. `totals` is asked at each look at one of
 * them, so it keeps what it has worked out.
 */
export function withLazyTotals<T extends object>(
  document: T,
  totals: () => ClusterTotals,
): T & ClusterTotals {
  for (const name of NAMES) {
    Object.defineProperty(document, name, { enumerable: true, get: () => totals()[name] });
  }
  return document as T & ClusterTotals;
}
