import { availableParallelism, totalmem } from "node:os";

/** How much the pool may use. */
export interface PoolLimits {
  /** Workers bound to a tenant. One spare without a policy comes on top. */
  readonly maxWorkers: number;
  /** Quick evaluations at once. */
  readonly maxRunning: number;
  /** Slow evaluations at once, on top of the quick ones. 0: slow ones keep their places. */
  readonly maxSlow: number;
  /** Slow evaluations at once, with those that turn out to be slow. */
  readonly maxLate: number;
  /** Evaluations of one tenant at once. */
  readonly maxPerTenant: number;
  /** Evaluations that wait. */
  readonly maxQueued: number;
  /** Bytes of input, settings and parameters of those that wait. */
  readonly maxQueuedBytes: number;
  /** Workers that start at once. */
  readonly maxStarting: number;
}

/** What the pool knows of a worker when it decides. */
export interface WorkerView {
  readonly tenant: string | null;
  readonly state: "starting" | "idle" | "running" | "stopping";
  /** Grows with every use. */
  readonly usedAt: number;
}

/** What to do for a tenant's next evaluation. */
export type Choice<W> =
  /** Run it on this worker, after ending `evict` when it is not null. */
  | { readonly kind: "use"; readonly worker: W; readonly evict: W | null }
  | { readonly kind: "wait" };

const WORKER_MEMORY_BYTES = 256 * 1024 * 1024;
const MAX_WORKERS = 16;
const DEFAULT_MAX_QUEUED = 1_000;
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
const MEMORY_SHARE = 4;
/** More than this many that all burn CPU would meet their wall-clock limits before their CPU limits. */
const SLOW_PER_CORE = 4;

/** Fills in the defaults of architecture §4.4 and ADR 13 from the machine's cores and memory. */
export function poolLimits(options: {
  readonly maxWorkers?: number;
  readonly maxRunning?: number;
  readonly maxQueued?: number;
}): PoolLimits {
  const byMemory = Math.floor(totalmem() / MEMORY_SHARE / WORKER_MEMORY_BYTES);
  const cores = availableParallelism();
  const maxRunning = Math.max(1, options.maxRunning ?? Math.max(2, cores));
  const maxWorkers = Math.max(1, options.maxWorkers ?? Math.min(MAX_WORKERS, byMemory));
  // Some workers stay for the quick, also where there are fewer workers than cores.
  const keptForQuick = Math.min(maxRunning, Math.ceil(maxWorkers / 4));
  return {
    maxWorkers,
    maxRunning,
    maxSlow: Math.min(SLOW_PER_CORE * cores, maxWorkers - keptForQuick),
    maxLate: maxWorkers - keptForQuick,
    maxPerTenant: Math.max(1, maxRunning - 1),
    maxQueued: Math.max(0, options.maxQueued ?? DEFAULT_MAX_QUEUED),
    maxQueuedBytes: MAX_QUEUED_BYTES,
    maxStarting: Math.max(1, Math.min(2, cores)),
  };
}

/**
 * Picks a worker: the tenant's own idle one, else a spare, for which the idle worker that was used least
 * recently makes room when as many are bound as may be.
 */
export function chooseWorker<W extends WorkerView>(
  workers: Iterable<W>,
  tenant: string,
  limits: Pick<PoolLimits, "maxWorkers">,
): Choice<W> {
  let spare: W | null = null;
  for (const worker of workers) {
    if (worker.state !== "idle") continue;
    if (worker.tenant === tenant) return { kind: "use", worker, evict: null };
    if (worker.tenant === null) spare ??= worker;
  }
  if (spare === null) return { kind: "wait" };
  const bound = [...workers].filter(({ tenant, state }) => tenant !== null && state !== "stopping");
  if (bound.length < limits.maxWorkers) return { kind: "use", worker: spare, evict: null };
  const [oldest] = bound
    .filter(({ state }) => state === "idle")
    .sort((one, other) => one.usedAt - other.usedAt);
  return oldest === undefined ? { kind: "wait" } : { kind: "use", worker: spare, evict: oldest };
}

/** Whether one more worker is to be started: there is to be a spare, and one for each tenant that waits. */
export function wantsWorker(
  workers: Iterable<WorkerView>,
  { waiting, starting }: { readonly waiting: number; readonly starting: number },
  limits: Pick<PoolLimits, "maxWorkers" | "maxRunning">,
): boolean {
  let live = starting;
  let spares = starting;
  for (const { state, tenant } of workers) {
    if (state === "stopping" || state === "starting") continue;
    live += 1;
    if (tenant === null) spares += 1;
  }
  const wanted = Math.max(1, Math.min(waiting, limits.maxRunning));
  return spares < wanted && live < limits.maxWorkers + 1;
}
