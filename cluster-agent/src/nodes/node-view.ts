import type {
  GpuReading,
  GpuSlot,
  HostReading,
  NodeInventory,
  ReadingQuality,
} from "./inventory.ts";
import type { Liveness } from "./liveness.ts";

/** What the store keeps of a node. */
export interface NodeRecord {
  readonly machineId: string;
  /** Newest start of the node's agent that was taken in. */
  readonly incarnation: number;
  /** UUID of that agent's process; absent in records of older versions. */
  readonly agentInstanceId?: string;
  readonly agentVersion: string;
  readonly inventory: NodeInventory;
  /** Position = slot. */
  readonly slots: readonly GpuSlot[];
  /** ISO 8601, for people. */
  readonly firstSeenAt: string;
}

/** A reading and when it came, on our monotonic clock. */
export interface Received<T> {
  readonly reading: T;
  readonly atMs: number;
}

/** What is held in memory of a node besides its record. */
export interface NodeTelemetry {
  /** When the node was last heard; absent when not since our start. */
  readonly heardAtMs?: number | undefined;
  readonly host?: Received<HostReading> | undefined;
  readonly gpus: ReadonlyMap<string, Received<GpuReading>>;
}

/** A reading as it stands at one moment. */
export interface Sampled<T> {
  readonly reading: T;
  /** Age at that moment, ms. */
  readonly ageMs: number;
  /** `stale` once the reading is older than three intervals. */
  readonly quality: ReadingQuality;
}

/** One node at one moment, for everything that reads: documents, metrics, verdicts. */
export interface NodeView {
  readonly id: string;
  readonly liveness: Liveness;
  readonly inventory: NodeInventory;
  readonly slots: readonly GpuSlot[];
  readonly agentVersion: string;
  readonly firstSeenAt: string;
  /** Age of the newest reading, or of the last sign of life when there is none, ms. */
  readonly ageMs: number;
  readonly host?: Sampled<HostReading>;
  /** By UUID. */
  readonly gpus: ReadonlyMap<string, Sampled<GpuReading>>;
  /** Raised at each change of anything above but the ages. */
  readonly version: number;
}

/** The moment at which a view is made, and what it is judged by. Times in ms of one monotonic clock. */
export interface ViewMoment {
  readonly nowMs: number;
  readonly startedAtMs: number;
  readonly intervals: { readonly gpuMs: number; readonly hostMs: number };
}

/** Intervals without a new reading after which the last one is stale. */
const STALE_AFTER_INTERVALS = 3;

/** The ages and the samples of a view. */
export function sampledTelemetry(
  telemetry: NodeTelemetry,
  moment: ViewMoment,
): Pick<NodeView, "ageMs" | "host" | "gpus"> {
  const { nowMs, intervals } = moment;
  const host = telemetry.host && sampled(telemetry.host, nowMs, intervals.hostMs);
  const gpus = new Map(
    [...telemetry.gpus].map(([uuid, gpu]) => [uuid, sampled(gpu, nowMs, intervals.gpuMs)]),
  );
  const ages = [...gpus.values(), ...(host ? [host] : [])].map((sample) => sample.ageMs);
  const silentMs = nowMs - (telemetry.heardAtMs ?? moment.startedAtMs);
  const ageMs = ages.length > 0 ? Math.min(...ages) : Math.round(silentMs);
  return { ageMs, gpus, ...(host ? { host } : {}) };
}

/** Whether a GPU's telemetry says that the device cannot be reached. */
export function isUnavailable(reading: Pick<GpuReading, "quality"> | undefined): boolean {
  return reading?.quality === "unavailable";
}

function sampled<T extends { ageMs: number; quality: ReadingQuality }>(
  { reading, atMs }: Received<T>,
  nowMs: number,
  intervalMs: number,
): Sampled<T> {
  const ageMs = Math.round(reading.ageMs + Math.max(0, nowMs - atMs));
  const old = ageMs > STALE_AFTER_INTERVALS * intervalMs && reading.quality !== "unavailable";
  return { reading, ageMs, quality: old ? "stale" : reading.quality };
}
