import type { GpuEntry, GpuMetrics, NodeEntry, NodeMetrics } from "@berth/proto";
import { GPU_STATES } from "../fleet/cluster-totals.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { AgedRow, GpuRow, MigDeviceRow } from "./rows.ts";
import { itemsOf, numberOf, textOf, textsOf } from "./rows-read.ts";

/** Why rows of a cluster are marked that cannot be reached. */
export const UNREACHABLE_REASON = "the cluster is unreachable: its agent is silent";

/** Most GPUs of a node that get rows: several times what machines have. */
const MAX_GPUS = 256;
const MAX_MIG_DEVICES = 16;
const MAX_REASONS = 32;
const MAX_INSTANCES = 256;

/** A node as its cluster's document and its own telemetry have it. */
export interface NodeParts {
  readonly entry: NodeEntry;
  /** Absent before it has told anything. */
  readonly metrics: NodeMetrics | undefined;
}

/** One GPU of a node. */
export interface GpuParts {
  readonly entry: Partial<GpuEntry>;
  readonly metrics: GpuMetrics | undefined;
}

/** The nodes of a cluster's document by their ids. */
export function nodesOf(view: ClusterView): readonly NodeEntry[] {
  const nodes = view.document.nodes?.nodeData ?? [];
  const isOrdered = nodes.every(
    ({ id }, index) => index === 0 || (nodes[index - 1]?.id ?? "") < id,
  );
  return isOrdered ? nodes : nodes.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** The GPUs of a node in slot order, at most 256. */
export function gpusOf({ entry, metrics }: NodeParts): readonly GpuParts[] {
  const told = itemsOf(metrics?.gpus, MAX_GPUS);
  return itemsOf(entry.gpus?.gpus, MAX_GPUS).map((gpu, slot) => ({
    entry: gpu,
    // Agents list both in slot order; other documents may not.
    metrics:
      told[slot]?.uuid === gpu.uuid ? told[slot] : told.find(({ uuid }) => uuid === gpu.uuid),
  }));
}

/** What a GPU can be used for now: nothing, in a cluster that cannot be reached. */
export function gpuStateOf({ health }: ClusterView, gpu: GpuParts): string {
  if (health === "unreachable") return "unhealthy";
  const { state } = conditionOf(gpu);
  return GPU_STATES.find((known) => known === state) ?? "unknown";
}

/**
 * State, health and reason of a GPU, all three of one document: the cluster's where that tells a state, else
 * those of the telemetry. The two arrive apart, and a reason of one does not explain a state of the other.
 */
function conditionOf({
  entry,
  metrics,
}: GpuParts): Pick<Partial<GpuEntry>, "state" | "health" | "reason"> {
  return entry.state === undefined && metrics !== undefined ? metrics : entry;
}

/** Whether a node is made up by a simulator. */
export function isSimulated({ entry, metrics }: NodeParts): boolean {
  return entry.simulated === true || metrics?.simulated === true;
}

/** When what a reading tells was measured; null when there is none. */
export function bornOf(
  view: ClusterView,
  { entry, metrics }: NodeParts,
  ageMs: unknown,
): AgedRow<GpuRow>["born"] {
  const atMs = view.nodesAtMs.get(entry.id);
  const age = numberOf(ageMs) ?? numberOf(metrics?.age_ms);
  return atMs === undefined ? null : { atMs: atMs - (age ?? 0) };
}

/** The quality of readings: "stale" when nobody can renew them. */
export function qualityOf({ health }: ClusterView, quality: unknown): string {
  const told = textOf(quality) ?? "unavailable";
  return health === "unreachable" && told !== "unavailable" ? "stale" : told;
}

/** The row of one GPU. */
export function gpuRow(
  view: ClusterView,
  node: NodeParts,
  { gpu, slot }: { readonly gpu: GpuParts; readonly slot: number },
): AgedRow<GpuRow> {
  const { entry, metrics } = gpu;
  const isUnreachable = view.health === "unreachable";
  const { health, reason } = conditionOf(gpu);
  return {
    body: {
      cluster_id: view.id,
      node_id: node.entry.id,
      id: textOf(entry.id) ?? String(slot),
      uuid: textOf(entry.uuid),
      model: textOf(entry.modelName),
      state: gpuStateOf(view, gpu),
      health: textOf(health),
      reason: isUnreachable ? UNREACHABLE_REASON : textOf(reason),
      utilization: numberOf(metrics?.cudaUtilization),
      memory_total: numberOf(metrics?.totalMem) ?? knownSize(entry.memory),
      memory_used: numberOf(metrics?.usedMem),
      temperature: numberOf(metrics?.temperature),
      power: numberOf(metrics?.powerUtilization),
      power_limit: numberOf(metrics?.powerLimit),
      sm_clock: numberOf(metrics?.smClock),
      throttle_reasons:
        metrics === undefined ? null : textsOf(metrics.throttleReasons, MAX_REASONS),
      ...programsOf(metrics),
      mig_devices: migDevicesOf(gpu),
      quality: qualityOf(view, metrics?.quality),
      simulated: isSimulated(node),
    },
    born: metrics === undefined ? null : bornOf(view, node, metrics.age_ms),
  };
}

/** A size that documents write as 0 where nothing tells it. */
export function knownSize(value: unknown): number | null {
  const size = numberOf(value);
  return size === null || size <= 0 ? null : size;
}

function programsOf(metrics: GpuMetrics | undefined): Pick<GpuRow, "processes" | "instances"> {
  const processes = metrics?.processes;
  if (!Array.isArray(processes)) return { processes: null, instances: null };
  const ids = itemsOf(metrics?.processes, MAX_INSTANCES).map((process) => process?.instance_id);
  return { processes: processes.length, instances: textsOf(ids, MAX_INSTANCES) };
}

function migDevicesOf({ entry, metrics }: GpuParts): readonly MigDeviceRow[] | null {
  const devices = itemsOf(entry.migDevices, MAX_MIG_DEVICES);
  if (devices.length === 0) return null;
  const used = itemsOf(metrics?.migDevices, MAX_MIG_DEVICES);
  return devices.map((device) => ({
    uuid: textOf(device?.uuid),
    profile: textOf(device?.profile),
    memory_total: knownSize(device?.memory),
    memory_used: numberOf(used.find((one) => one?.uuid === device?.uuid)?.usedMem),
  }));
}
