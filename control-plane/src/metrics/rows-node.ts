import type { ClusterView } from "../fleet/cluster-view.ts";
import type { AgedRow, NodeRow } from "./rows.ts";
import {
  bornOf,
  type GpuParts,
  gpuStateOf,
  gpusOf,
  isSimulated,
  knownSize,
  type NodeParts,
  qualityOf,
  UNREACHABLE_REASON,
} from "./rows-gpu.ts";
import { numberOf, plus, textOf, textsOf } from "./rows-read.ts";

const MAX_MODELS = 16;

/** What the GPUs of a node come to; null where none of them tells. */
export interface GpuSums {
  readonly gpus: number;
  readonly free_gpus: number;
  readonly unhealthy_gpus: number;
  readonly gpu_memory_total: number | null;
  readonly gpu_memory_used: number | null;
  readonly power: number | null;
}

/** "healthy", "unhealthy", "unreachable" or "unknown". */
export function nodeStatusOf({ health }: ClusterView, { metrics }: NodeParts): string {
  if (health === "unreachable") return "unreachable";
  return metrics?.status ?? "unknown";
}

/** Sums over the GPUs of a node. */
export function gpuSums(view: ClusterView, gpus: readonly GpuParts[]): GpuSums {
  let free = 0;
  let unhealthy = 0;
  let total: number | null = null;
  let used: number | null = null;
  let power: number | null = null;
  for (const gpu of gpus) {
    const state = gpuStateOf(view, gpu);
    if (state === "free") free += 1;
    if (state === "unhealthy") unhealthy += 1;
    total = plus(total, numberOf(gpu.metrics?.totalMem) ?? knownSize(gpu.entry.memory));
    used = plus(used, numberOf(gpu.metrics?.usedMem));
    power = plus(power, numberOf(gpu.metrics?.powerUtilization));
  }
  return {
    gpus: gpus.length,
    free_gpus: free,
    unhealthy_gpus: unhealthy,
    gpu_memory_total: total,
    gpu_memory_used: used,
    power,
  };
}

/** The row of one node. */
export function nodeRow(view: ClusterView, node: NodeParts): AgedRow<NodeRow> {
  const { entry, metrics } = node;
  const gpus = gpusOf(node);
  const { power, ...sums } = gpuSums(view, gpus);
  return {
    body: {
      cluster_id: view.id,
      id: entry.id,
      status: nodeStatusOf(view, node),
      reason: view.health === "unreachable" ? UNREACHABLE_REASON : textOf(metrics?.reason),
      simulated: isSimulated(node),
      quality: qualityOf(view, metrics?.quality),
      cpu_count: numberOf(metrics?.vcpu?.count) ?? knownSize(entry.vcpus?.count),
      cpu_utilization: numberOf(metrics?.vcpu?.utilization),
      load_1m: numberOf(metrics?.vcpu?.load1m),
      memory_total: knownSize(entry.memory),
      memory_used: numberOf(metrics?.memory?.usedMem),
      ...sums,
      gpu_utilization: meanOf(gpus.map((gpu) => numberOf(gpu.metrics?.cudaUtilization))),
      models: textsOf(
        gpus.map((gpu) => gpu.entry.modelName),
        MAX_MODELS,
      ),
      power,
      max_temperature: greatestOf(gpus.map((gpu) => numberOf(gpu.metrics?.temperature))),
    },
    born: metrics === undefined ? null : bornOf(view, node, metrics.age_ms),
  };
}

function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  const sum = known.reduce<number | null>(plus, null);
  return sum === null ? null : sum / known.length;
}

function greatestOf(values: readonly (number | null)[]): number | null {
  return values.reduce<number | null>(
    (most, value) => (value === null ? most : Math.max(most ?? value, value)),
    null,
  );
}
