import type { ClusterTotals } from "@berth/proto";

/**
 * The rows in which people and live clients see a fleet: one per cluster, node or GPU. Sizes are in MB, power in
 * W, temperatures in degrees Celsius, utilizations 0-100; what is not known is null. Rows of a cluster that
 * cannot be reached stay as they were last, marked as such, and grow older.
 *
 * @module
 */

/** One cluster. `gpu_utilization` and the totals are over its live nodes, the GPU sums over all. */
export interface ClusterRow extends Omit<ClusterTotals, "total_gpus"> {
  readonly id: string;
  /** "live", "unreachable", or "unknown" without an agent. */
  readonly status: string;
  readonly simulated: boolean;
  readonly region_id: string | null;
  readonly nodes: number;
  readonly healthy_nodes: number;
  readonly gpus: number;
  readonly free_gpus: number;
  readonly unhealthy_gpus: number;
  readonly gpu_memory_total: number | null;
  readonly gpu_memory_used: number | null;
  readonly power: number | null;
  /** Age of its newest telemetry. */
  readonly age_ms: number | null;
}

/** One node. */
export interface NodeRow {
  readonly cluster_id: string;
  readonly id: string;
  /** "healthy", "unhealthy", "unreachable" with its cluster, or "unknown" before it has told anything. */
  readonly status: string;
  readonly reason: string | null;
  readonly simulated: boolean;
  readonly quality: string;
  readonly cpu_count: number | null;
  readonly cpu_utilization: number | null;
  readonly load_1m: number | null;
  readonly memory_total: number | null;
  readonly memory_used: number | null;
  readonly gpus: number;
  readonly free_gpus: number;
  readonly unhealthy_gpus: number;
  /** Mean over the GPUs that tell it. */
  readonly gpu_utilization: number | null;
  readonly gpu_memory_total: number | null;
  readonly gpu_memory_used: number | null;
  /** Names of its GPUs' models, each once. */
  readonly models: readonly string[];
  /** Of its GPUs together. */
  readonly power: number | null;
  /** Of its hottest GPU. */
  readonly max_temperature: number | null;
  /** Age of its newest sample. */
  readonly age_ms: number | null;
}

/** One GPU. */
export interface GpuRow {
  readonly cluster_id: string;
  readonly node_id: string;
  /** Slot on its node. */
  readonly id: string;
  readonly uuid: string | null;
  readonly model: string | null;
  /** "free", "leased", "allocated", "cordoned", "unhealthy", or "unknown" where nothing tells it. */
  readonly state: string;
  /** Gravest class of what is known to be wrong with it. */
  readonly health: string | null;
  readonly reason: string | null;
  readonly utilization: number | null;
  readonly memory_total: number | null;
  readonly memory_used: number | null;
  readonly temperature: number | null;
  readonly power: number | null;
  readonly power_limit: number | null;
  /** MHz. */
  readonly sm_clock: number | null;
  readonly throttle_reasons: readonly string[] | null;
  /** Number of programs on it. */
  readonly processes: number | null;
  /** Ids of the Berth instances on it. */
  readonly instances: readonly string[] | null;
  /** Parts that MIG has cut it into. */
  readonly mig_devices: readonly MigDeviceRow[] | null;
  readonly quality: string;
  readonly simulated: boolean;
  readonly age_ms: number | null;
}

/** One part of a GPU. */
export interface MigDeviceRow {
  readonly uuid: string | null;
  /** "3g.20gb". */
  readonly profile: string | null;
  readonly memory_total: number | null;
  readonly memory_used: number | null;
}

/** A row whose age is told when it goes out. */
export interface AgedRow<Row> {
  readonly body: Omit<Row, "age_ms">;
  /** When what it tells was measured, in ms of this process's monotonic clock; null where nobody measures. */
  readonly born: { readonly atMs: number } | null;
}

/** What can be listed and watched. */
export const ROW_KINDS = ["clusters", "nodes", "gpus"] as const;

/** One of {@link ROW_KINDS}. */
export type RowKind = (typeof ROW_KINDS)[number];

/** Which rows are wanted; all without a member. */
export interface RowFilter {
  readonly cluster?: string | undefined;
  /** Of nodes and GPUs. */
  readonly node?: string | undefined;
  /** Of GPUs. */
  readonly state?: string | undefined;
}

/** JSON text of a row without its age and its end, which {@link rowText} adds. */
export function rowStem(body: object): string {
  return JSON.stringify(body).slice(0, -1);
}

/** JSON text of a row. */
export function rowText(stem: string, born: AgedRow<unknown>["born"], nowMs: number): string {
  const age = born === null ? "null" : Math.max(0, Math.round(nowMs - born.atMs));
  return `${stem},"age_ms":${age}}`;
}
