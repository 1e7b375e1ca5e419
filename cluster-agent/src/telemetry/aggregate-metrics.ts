import type { AggregateMetrics, ClusterMetrics, NodeMetrics } from "@berth/proto";
import { gpuTotals } from "./node-metrics.ts";
import { mean, sum } from "./numbers.ts";

const GROUPS = ["memory", "vcpu", "storage", "network"] as const;
const AVERAGED = new Set([
  "averageUtil",
  "utilization",
  "load1m",
  "load5m",
  "load15m",
  "load_1m",
  "load_5m",
  "load_15m",
]);

/**
 * Metrics of a cluster from its nodes' metrics, over the healthy ones only: averages are averaged (GPU
 * averages over GPUs, so that a node with more of them weighs more), `maxDisk` and `minDisk` are the
 * extremes, everything else is summed. Nested keys are flattened with dots: `disks.memory.freeMem`.
 * The order of the nodes does not matter. A value that no node knows is absent.
 */
export function aggregateMetrics(nodes: readonly NodeMetrics[]): AggregateMetrics {
  // Sorted, because a sum of floating-point numbers depends on their order.
  const live = nodes
    .filter((node) => node.status === "healthy")
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  const result: Record<string, Record<string, number>> = {};
  for (const group of GROUPS) result[group] = aggregateGroup(live.map((node) => node[group]));
  const gpus = live.flatMap((node) => node.gpus);
  if (gpus.length > 0) {
    result.gpu = {
      ...gpuTotals(gpus),
      free_gpus: sum(live.map((node) => node.free_gpus)) ?? 0,
      unhealthy_gpus: gpus.filter((gpu) => gpu.state === "unhealthy").length,
    };
  }
  return result;
}

/** The metrics document of a cluster: what policies get as `cluster_metrics`. */
export function clusterMetrics(clusterId: string, nodes: readonly NodeMetrics[]): ClusterMetrics {
  return { clusterId, cluster: aggregateMetrics(nodes), nodes };
}

function aggregateGroup(groups: readonly Readonly<Record<string, unknown>>[]) {
  const values = new Map<string, number[]>();
  for (const group of groups) {
    for (const [key, value] of flatten(group, "")) {
      const list = values.get(key) ?? [];
      list.push(value);
      values.set(key, list);
    }
  }
  const result: Record<string, number> = {};
  for (const [key, list] of values) {
    const combined = combine(key, list);
    if (combined !== undefined) result[key] = combined;
  }
  return result;
}

function combine(key: string, values: readonly number[]): number | undefined {
  const last = key.slice(key.lastIndexOf(".") + 1);
  if (AVERAGED.has(last)) return mean(values);
  if (last === "maxDisk") return values.reduce((a, b) => Math.max(a, b));
  if (last === "minDisk") return values.reduce((a, b) => Math.min(a, b));
  return sum(values);
}

function flatten(group: Readonly<Record<string, unknown>>, prefix: string): [string, number][] {
  return Object.entries(group).flatMap(([key, value]): [string, number][] => {
    if (typeof value === "number") return [[prefix + key, value]];
    if (typeof value !== "object" || value === null) return [];
    return flatten(value as Record<string, unknown>, `${prefix}${key}.`);
  });
}
