import type { SandboxEvent } from "../sandbox-types.ts";
import type { Job, JobReply } from "./job.ts";
import type { ResidentRecord } from "./resident-record.ts";
import type { SnapshotStore } from "./snapshot.ts";

/** A worker of the pool, as a task sees it. */
export interface PoolWorker {
  /** Keys of the policy instances that are loaded, by the worker's own word. */
  instances: ReadonlySet<string>;
  /** Which resident documents it holds; a new process holds none. */
  readonly residents: ResidentRecord;
  run(job: Job): Promise<JobReply>;
  /** Ends the worker because the caller does not want the answer any more. */
  cancel(): void;
  /** The worker is not to be used again. */
  discard(reason: string): void;
}

/** A task's worker ended before it had taken the task, or had no room for it: it may be tried on another one. */
export class NotBegun<T> {
  /** What the task comes to when it is not tried again. */
  readonly outcome: T;

  constructor(outcome: T) {
    this.outcome = outcome;
  }
}

/** Something to do on a worker of one tenant. */
export interface Task<T> {
  readonly tenant: string;
  /** With whom it shares its place in the queue and its pace, where that is not the tenant. */
  readonly line?: string;
  /** What it keeps in memory while it waits. */
  readonly bytes: number;
  readonly signal?: AbortSignal | undefined;
  /** Asked when its turn has come: whether no other of the tenant may run meanwhile. Default: others may. */
  readonly runsAlone?: () => boolean;
  /** Digest of the code that a worker has to take in before it can work on it for the first time. */
  readonly code?: string;
  readonly work: (worker: PoolWorker, queuedMs: number) => Promise<T | NotBegun<T>>;
}

/** Why a task did not reach a worker. */
export type Refusal =
  | { readonly kind: "overloaded"; readonly message: string }
  | { readonly kind: "canceled" }
  | { readonly kind: "no_worker"; readonly message: string; readonly queuedMs: number };

/** What a pool is made of. */
export interface PoolParts {
  readonly snapshot: SnapshotStore;
  readonly onEvent: (event: SandboxEvent) => void;
  /** The record of a process that holds nothing yet. */
  readonly newRecord: () => ResidentRecord;
}
