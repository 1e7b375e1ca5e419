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
    instances: new Set(),
    residents,
    run: (job) => worker.run(job),
    cancel: () => worker.kill("canceled", "the evaluation was canceled"),
    discard: stop,
  };
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
