import type { ClusterTotals, GpuState, NodeMetrics } from "@berth/proto";
import { isJsonObject } from "@berth/service-kit";
import type { ClusterView } from "./cluster-view.ts";

/** What is known of a GPU: its state, or that nothing tells it. */
export type KnownGpuState = GpuState | "unknown";

/** The states in which GPUs are counted. */
export const GPU_STATES: readonly KnownGpuState[] = [
  "free",
  "leased",
  "allocated",
  "cordoned",
  "unhealthy",
  "unknown",
];

const KNOWN_STATES: ReadonlySet<string> = new Set(GPU_STATES);

/** How many GPUs a cluster has: all that its document lists, those of dead nodes too. */
export interface GpuCounts {
  readonly total: number;
  /** States without a GPU are absent. */
  readonly byState: ReadonlyMap<KnownGpuState, number>;
  readonly byModel: ReadonlyMap<string, number>;
}

/** Longest name of a model; agents are not trusted with more. */
const MAX_MODEL_CHARACTERS = 128;
const UNKNOWN_MODEL = "unknown";

/**
 * Totals of a cluster over its healthy nodes: cores and used cores (cores times utilization), memory in MB, GPUs
 * and their mean utilization in percent. Null where no such node tells. Before any telemetry, and without an
 * agent, the totals are those of the document, and what is used is null. Never NaN or infinite.
 */
export function clusterTotals({ metrics, document }: ClusterView): ClusterTotals {
  if (metrics === null) {
    return {
      total_cpu: orNull(numberIn(document.vcpus, "count")),
      used_cpu: null,
      total_memory: orNull(numberIn(document, "memory")),
      used_memory: null,
      total_gpus: orNull(numberIn(document.gpus, "count")),
      gpu_utilization: null,
    };
  }
  const { total_cpu, used_cpu, total_memory, used_memory, total_gpus, gpu_utilization } = metrics;
  return { total_cpu, used_cpu, total_memory, used_memory, total_gpus, gpu_utilization };
}

/** The totals of a cluster with these nodes, whatever their order. */
export function totalsOfNodes(nodes: readonly NodeMetrics[]): ClusterTotals {
  // Sorted, because a sum of floating-point numbers depends on their order.
  const live = nodes.filter(isLive).toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return {
    total_cpu: sum(live.map(cores)),
    used_cpu: sum(live.map(usedCores)),
    total_memory: sum(live.map(totalMemory)),
    used_memory: sum(live.map(usedMemory)),
    total_gpus: live.reduce((count, node) => count + node.gpus.length, 0),
    gpu_utilization: meanUtilization(live),
  };
}

/** Counts the GPUs of a cluster's document. Those of an unreachable cluster cannot be used: "unhealthy". */
export function gpuCounts({ document, health }: ClusterView): GpuCounts {
  const byState = new Map<KnownGpuState, number>();
  const byModel = new Map<string, number>();
  let total = 0;
  for (const node of document.nodes?.nodeData ?? []) {
    for (const { state, modelName } of node.gpus?.gpus ?? []) {
      total += 1;
      raise(byState, health === "unreachable" ? "unhealthy" : stateOf(state), 1);
      raise(byModel, modelOf(modelName), 1);
    }
  }
  // Who registers a cluster by REST may count its GPUs and list none.
  const unlisted = (numberIn(document.gpus, "count") ?? 0) - total;
  if (health === "unknown" && unlisted > 0) {
    total += unlisted;
    raise(byState, "unknown", unlisted);
    raise(byModel, UNKNOWN_MODEL, unlisted);
  }
  return { total, byState, byModel };
}

/** A finite number of a group that an agent or a client wrote; undefined when there is none of that key. */
export function numberIn(group: unknown, key: string): number | undefined {
  return isJsonObject(group) ? finiteNumber(group[key]) : undefined;
}

/** A value that should be a number and may be anything; undefined when it is no finite number. */
export function finiteNumber(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** Whether a node's values are those of now: the others are the last that were known. */
export function isLive(node: NodeMetrics): boolean {
  return node.status === "healthy";
}

/** Cores of a node that were busy; undefined when it does not tell. */
export function usedCores(node: NodeMetrics): number | undefined {
  const utilization = numberIn(node.vcpu, "utilization");
  const count = cores(node);
  return count === undefined || utilization === undefined ? undefined : (count * utilization) / 100;
}

/** MB in use on a node. */
export function usedMemory(node: NodeMetrics): number | undefined {
  return numberIn(node.memory, "usedMem");
}

/** Mean percent of time in which the GPUs of nodes were busy, over those that tell it; null without any. */
export function meanUtilization(nodes: readonly NodeMetrics[]): number | null {
  const { total, count } = utilizationOf(nodes);
  return count === 0 ? null : finite(total / count);
}

/** Sum of the utilizations of GPUs in percent, and how many GPUs tell it. */
export function utilizationOf(nodes: readonly NodeMetrics[]): { total: number; count: number } {
  let total = 0;
  let count = 0;
  for (const { gpus } of nodes) {
    for (const { cudaUtilization } of gpus) {
      const percent = finiteNumber(cudaUtilization);
      if (percent === undefined) continue;
      total += percent;
      count += 1;
    }
  }
  return { total, count };
}

/** Sum of the known values, null when values are there and none is known; of no values at all it is 0. */
export function sum(values: readonly (number | undefined)[]): number | null {
  const present = values.filter((value) => value !== undefined);
  if (present.length === 0 && values.length > 0) return null;
  return finite(present.reduce((total, value) => total + value, 0));
}

/** Adds to a number that is kept by key. */
export function raise<K>(counts: Map<K, number>, key: K, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

function cores(node: NodeMetrics): number | undefined {
  return numberIn(node.vcpu, "count");
}

function totalMemory(node: NodeMetrics): number | undefined {
  const free = numberIn(node.memory, "freeMem");
  const used = usedMemory(node);
  return free === undefined || used === undefined ? undefined : free + used;
}

function stateOf(state: KnownGpuState): KnownGpuState {
  return KNOWN_STATES.has(state) ? state : "unknown";
}

function modelOf(name: unknown): string {
  if (typeof name !== "string" || name === "") return UNKNOWN_MODEL;
  return name.slice(0, MAX_MODEL_CHARACTERS);
}

function orNull(value: number | undefined): number | null {
  return value ?? null;
}

/** Sums of what agents say can be too large for a number. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
