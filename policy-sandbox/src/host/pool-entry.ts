import type { WorkerState, WorkerStats } from "../sandbox-types.ts";
import type { PoolWorker } from "./pool-task.ts";
import { readUsageNow } from "./process-usage.ts";
import type { ResidentRecord } from "./resident-record.ts";
import type { WorkerProcess } from "./worker-process.ts";

/** A worker of the pool, as the pool sees it. */
export interface Entry extends PoolWorker {
  readonly process: WorkerProcess;
  /** Null until it has its first task; its own from then on. */
  tenant: string | null;
  state: WorkerState;
  /** Grows with every use of any worker. */
  usedAt: number;
  /** That it has finished. */
  evaluations: number;
  /** Digests of the code that it has worked on: what we know ourselves, whatever the worker says. */
  readonly codes: Set<string>;
}

/** The entry of a process that starts. `stop` is to end it in its turn. */
export function poolEntry(
  worker: WorkerProcess,
  residents: ResidentRecord,
  stop: (reason: string) => void,
): Entry {
  return {
    process: worker,
    tenant: null,
    state: "starting",
    usedAt: 0,
    evaluations: 0,
    codes: new Set(),
    instances: new Set(),
    residents,
    run: (job) => worker.run(job),
    cancel: () => worker.kill("canceled", "the evaluation was canceled"),
    discard: stop,
  };
}

/** Digests that are remembered of a worker; one that has seen more takes in much at every turn. */
const MAX_CODES = 64;

/** What goes on for longer makes room for the quick, in ms. */
const LATE_AFTER_MS = 200;
/** A worker that takes code in first is excused for so long, in ms: it says nothing of the policy's pace. */
const COLD_SLOW_AFTER_MS = 2_000;

/** After how long, in ms, a run of this code on this worker is late, and after how long that is the policy's doing. */
export function patienceWith(
  { codes, evaluations }: Entry,
  code: string | undefined,
): { readonly lateMs: number; readonly slowMs: number } {
  const isCold = code === undefined ? evaluations === 0 : !codes.has(code);
  return { lateMs: LATE_AFTER_MS, slowMs: isCold ? COLD_SLOW_AFTER_MS : LATE_AFTER_MS };
}

/** The worker has finished one evaluation, of this code. */
export function noteEvaluation(entry: Entry, code: string | undefined): void {
  entry.evaluations += 1;
  if (code !== undefined && entry.codes.size < MAX_CODES) entry.codes.add(code);
}

/** Whether a tenant has it, and may go on using it. */
export function isBound({ tenant, state }: Entry): boolean {
  return tenant !== null && state !== "stopping";
}

/** What is told of a worker. */
export function workerStats({ process, tenant, state, evaluations }: Entry): WorkerStats {
  const usage = readUsageNow(process.pid);
  return {
    pid: process.pid,
    tenant,
    state: process.alive ? state : "stopping",
    evaluations,
    ...(usage === null ? {} : { rssMiB: Math.round(usage.rssMiB) }),
  };
}
