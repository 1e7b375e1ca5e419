import type { NodeMetrics } from "@berth/proto";
import {
  clusterTotals,
  finiteNumber,
  gpuCounts,
  isLive,
  meanUtilization,
  numberIn,
  sum,
  usedMemory,
} from "../fleet/cluster-totals.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";

/** Series of a cluster: cores, MB, GPUs, percent, MB and W. */
export const CLUSTER_SERIES = [
  ...["total_cpu", "used_cpu", "total_memory", "used_memory"],
  ...["gpus", "free_gpus", "unhealthy_gpus", "gpu_utilization", "gpu_memory_used", "power"],
] as const;

/** Series of a node: percent, MB, percent, MB, W and GPUs. */
export const NODE_SERIES = [
  ...["cpu_utilization", "memory_used", "gpu_utilization", "gpu_memory_used", "power", "free_gpus"],
] as const;

/** Readings in the order of their series; null where unknown. */
export type Readings = readonly (number | null)[];

/** What a cluster's charts show of this moment; nothing is known of an unreachable one. */
export function clusterReadings(view: ClusterView): Readings {
  if (view.health === "unreachable") return CLUSTER_SERIES.map(() => null);
  const totals = clusterTotals(view);
  const { total, byState } = gpuCounts(view);
  // Where the state of one is unknown, so is how many are free.
  const inState = (state: "free" | "unhealthy") =>
    byState.has("unknown") ? null : (byState.get(state) ?? 0);
  return [
    ...[totals.total_cpu, totals.used_cpu, totals.total_memory, totals.used_memory],
    ...[total, inState("free"), inState("unhealthy"), totals.gpu_utilization],
    ...gpuReadings(view.metrics?.nodes.filter(isLive)),
  ];
}

/** What a node's charts show of this moment; nothing is known of one that does not report. */
export function nodeReadings(node: NodeMetrics, { health }: ClusterView): Readings {
  if (health === "unreachable" || !isLive(node)) return NODE_SERIES.map(() => null);
  return [
    numberIn(node.vcpu, "utilization") ?? null,
    usedMemory(node) ?? null,
    meanUtilization([node]),
    ...gpuReadings([node]),
    numberIn(node, "free_gpus") ?? null,
  ];
}

/** Memory in use and power of the nodes' GPUs. */
function gpuReadings(nodes: readonly NodeMetrics[] | undefined): Readings {
  if (nodes === undefined) return [null, null];
  const gpus = nodes.flatMap((node) => node.gpus);
  return [
    sum(gpus.map((gpu) => finiteNumber(gpu.usedMem))),
    sum(gpus.map((gpu) => finiteNumber(gpu.powerUtilization))),
  ];
}
