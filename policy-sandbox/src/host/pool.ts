import type { SandboxEvent, SandboxStats } from "../sandbox-types.ts";
import {
  type Entry,
  isBound,
  noteEvaluation,
  patienceWith,
  poolEntry,
  workerStats,
} from "./pool-entry.ts";
import { type Choice, chooseWorker, type PoolLimits, wantsWorker } from "./pool-policy.ts";
import { NotBegun, type PoolParts, type Refusal, type Task } from "./pool-task.ts";
import type { SnapshotStore } from "./snapshot.ts";
import { pyodideDir, xzScript } from "./spawn-worker.ts";
import { StartFailures } from "./start-failures.ts";
import { type Turn, Turns, type Waiting } from "./turns.ts";
import { WorkerProcess } from "./worker-process.ts";

interface Queued extends Waiting {
  /** Whose workers it may use. */
  readonly boundTo: string;
  readonly queuedAt: number;
  readonly start: (entry: Entry, turn: Turn) => void;
}

/** Workers that may die under a task before they have taken it; the last one's end is told. */
const MAX_TRIES = 3;

/** Worker processes and who waits for them. Nothing in here waits without an end. */
export class Pool {
  readonly #limits: PoolLimits;
  readonly #snapshot: SnapshotStore;
  readonly #onEvent: (event: SandboxEvent) => void;
  readonly #newRecord: PoolParts["newRecord"];
  readonly #workers = new Set<Entry>();
  readonly #turns: Turns<Queued>;
  #uses = 0;
  #starting = 0;
  readonly #failures = new StartFailures();
  #retryTimer: NodeJS.Timeout | null = null;
  #spareWaiters: PromiseWithResolvers<void>[] = [];
  #closed = false;

  constructor(limits: PoolLimits, parts: PoolParts) {
    this.#limits = limits;
    this.#turns = new Turns(limits);
    this.#snapshot = parts.snapshot;
    this.#onEvent = parts.onEvent;
    this.#newRecord = parts.newRecord;
  }

  /** Resolves when an idle worker exists; rejects when those who wait for one are told that none can be had. */
  async warm(): Promise<void> {
    if (this.#closed) throw new Error("the sandbox is closed");
    if (this.#hasIdleSpare()) return;
    const waiter = Promise.withResolvers<void>();
    this.#spareWaiters.push(waiter);
    this.#startWorkers();
    return waiter.promise;
  }

  /** Runs the task when its turn comes. Rejects only when `work` does. */
  submit<T>(task: Task<T>): Promise<T | Refusal> {
    if (this.#closed || task.signal?.aborted === true) return Promise.resolve({ kind: "canceled" });
    const { promise, resolve, reject } = Promise.withResolvers<T | Refusal>();
    const queuedAt = performance.now();
    const onAbort = () => {
      if (this.#turns.leave(queued)) resolve({ kind: "canceled" });
    };
    let tries = 0;
    const attempt = async (entry: Entry): Promise<T | Refusal | null> => {
      tries += 1;
      const result = await task.work(entry, performance.now() - queuedAt);
      if (!(result instanceof NotBegun)) return result;
      if (this.#closed || task.signal?.aborted === true) return { kind: "canceled" };
      if (tries === MAX_TRIES) return result.outcome;
      task.signal?.addEventListener("abort", onAbort, { once: true });
      this.#turns.putBack(queued);
      return null;
    };
    const line = task.line ?? task.tenant;
    const queued: Queued = {
      tenant: line,
      boundTo: task.tenant,
      bytes: task.bytes,
      runsAlone: task.runsAlone ?? (() => false),
      queuedAt,
      start: (entry, turn) => {
        task.signal?.removeEventListener("abort", onAbort);
        this.#work(entry, { turn, code: task.code }, () => attempt(entry)).then((outcome) => {
          if (outcome !== null) resolve(outcome);
        }, reject);
      },
      refuse: (refusal) => {
        task.signal?.removeEventListener("abort", onAbort);
        resolve(refusal);
      },
    };
    task.signal?.addEventListener("abort", onAbort, { once: true });
    this.#turns.add(queued);
    this.#dispatch();
    this.#turns.trim(line);
    return promise;
  }

  stats(): Omit<SandboxStats, "snapshot"> {
    const { running, slow, queued } = this.#turns;
    return { workers: [...this.#workers].map(workerStats), running, slow, queued };
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#turns.refuse(() => ({ kind: "canceled" }));
    this.#settleSpareWaiters(new Error("the sandbox was closed"));
    const gone = [...this.#workers].map((entry) => {
      entry.process.kill("closed", "the sandbox was closed");
      return entry.process.exited;
    });
    await Promise.all(gone);
  }

  #dispatch(): void {
    if (this.#closed) return;
    for (const tenant of this.#turns.tenants()) {
      const choice = this.#chooseFor(tenant);
      if (choice.kind === "wait") continue;
      if (choice.evict !== null) this.#stop(choice.evict, "another policy needs its place");
      const started = this.#turns.start(tenant);
      started?.next.start(this.#occupy(choice.worker, started.next.boundTo), started.turn);
    }
    this.#startWorkers();
    // A tenant may have more waiting than the one that it just got served.
    if (this.#canServeMore()) this.#dispatch();
  }

  /** One that has died is forgotten a moment later. */
  #living(): Entry[] {
    return [...this.#workers].filter(({ process }) => process.alive);
  }

  #chooseFor(tenant: string): Choice<Entry> {
    const next = this.#turns.next(tenant);
    if (next === undefined || !this.#turns.mayStart(tenant)) return { kind: "wait" };
    return chooseWorker(this.#living(), next.boundTo, this.#limits);
  }

  #canServeMore(): boolean {
    return this.#turns.tenants().some((tenant) => this.#chooseFor(tenant).kind === "use");
  }

  #occupy(entry: Entry, tenant: string): Entry {
    entry.tenant = tenant;
    entry.state = "running";
    this.#uses += 1;
    entry.usedAt = this.#uses;
    return entry;
  }

  async #work<T>(
    entry: Entry,
    { turn, code }: { readonly turn: Turn; readonly code: string | undefined },
    action: () => Promise<T>,
  ): Promise<T> {
    const { lateMs, slowMs } = patienceWith(entry, code);
    const timers = [setTimeout(() => this.#noteSlow(entry, turn), slowMs)];
    if (lateMs < slowMs) timers.push(setTimeout(() => this.#noteLate(turn), lateMs));
    try {
      return await action();
    } finally {
      for (const timer of timers) clearTimeout(timer);
      noteEvaluation(entry, code);
      this.#release(entry, turn);
    }
  }

  #noteLate(turn: Turn): void {
    this.#turns.noteLate(turn);
    this.#dispatch();
  }

  #noteSlow(entry: Entry, turn: Turn): void {
    entry.process.background = true;
    this.#turns.noteSlow(turn);
    this.#dispatch();
  }

  #release(entry: Entry, turn: Turn): void {
    this.#turns.end(turn);
    entry.process.background = false;
    if (entry.state === "running") entry.state = entry.process.alive ? "idle" : "stopping";
    this.#dispatch();
  }

  #stop(entry: Entry, reason: string): void {
    if (entry.state === "stopping") return;
    entry.state = "stopping";
    entry.process.kill("closed", reason);
  }

  /** Keeps one spare, and more while tenants wait for one. */
  #startWorkers(): void {
    if (this.#closed || this.#retryTimer !== null) return;
    while (this.#starting < this.#limits.maxStarting) {
      const waiting = this.#turns.tenants().length;
      const needs = { waiting, starting: this.#starting };
      if (!wantsWorker(this.#living(), needs, this.#limits)) return;
      this.#starting += 1;
      void this.#startWorker();
    }
  }

  async #startWorker(): Promise<void> {
    const startedAt = performance.now();
    const started = await this.#start().catch((error: unknown) => ({ error }));
    this.#starting -= 1;
    if ("error" in started) this.#noteFailure(started.error);
    else this.#noteStart(started.pid, Math.round(performance.now() - startedAt));
    if (this.#hasIdleSpare()) this.#settleSpareWaiters(null);
    this.#dispatch();
  }

  async #start(): Promise<WorkerProcess> {
    const snapshotFile = await this.#snapshot.ensure();
    if (this.#closed) throw new Error("the sandbox is closed");
    const config = { pyodideDir: pyodideDir(), xzScript: xzScript(), snapshotFile };
    const worker = new WorkerProcess({ mode: "serve", ...config });
    const entry = this.#adopt(worker);
    await worker.ready;
    entry.state = "idle";
    return worker;
  }

  #adopt(worker: WorkerProcess): Entry {
    const residents = this.#newRecord();
    const entry = poolEntry(worker, residents, (reason) => this.#stop(entry, reason));
    this.#workers.add(entry);
    void worker.exited.then(() => this.#forget(entry));
    return entry;
  }

  #forget(entry: Entry): void {
    const { pid, endMessage } = entry.process;
    const started = entry.state !== "starting";
    this.#workers.delete(entry);
    entry.state = "stopping";
    if (this.#closed || !started) return;
    this.#onEvent({ kind: "worker_killed", pid, tenant: entry.tenant, reason: endMessage });
    this.#dispatch();
  }

  #noteStart(pid: number, startMs: number): void {
    this.#failures.clear();
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#onEvent({ kind: "worker_started", pid, startMs });
  }

  #noteFailure(error: unknown): void {
    if (this.#closed) return;
    const reason = error instanceof Error ? error.message : "unknown failure";
    this.#onEvent({ kind: "worker_failed_to_start", message: reason });
    const { backoffMs, suspectsImage, givesUp } = this.#failures.note(error);
    if (suspectsImage) this.#snapshot.invalidate();
    if (backoffMs > 0) this.#retryIn(backoffMs * (0.5 + Math.random() / 2));
    if (!givesUp || this.#starting > 0 || this.#hasIdleSpare()) return;
    const message = `no policy worker can be started: ${reason}`;
    this.#settleSpareWaiters(new Error(message));
    // Whoever has a live worker goes on waiting for that one; the others are told.
    const served = new Set(
      this.#living()
        .filter(isBound)
        .map((entry) => entry.tenant),
    );
    this.#turns.refuse(({ boundTo, queuedAt }) =>
      served.has(boundTo)
        ? null
        : { kind: "no_worker", message, queuedMs: performance.now() - queuedAt },
    );
  }

  #retryIn(waitMs: number): void {
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = null;
      this.#startWorkers();
    }, waitMs);
  }

  #hasIdleSpare(): boolean {
    return this.#living().some((entry) => entry.tenant === null && entry.state === "idle");
  }

  #settleSpareWaiters(error: Error | null): void {
    const waiters = this.#spareWaiters;
    this.#spareWaiters = [];
    for (const waiter of waiters) {
      if (error === null) waiter.resolve();
      else waiter.reject(error);
    }
  }
}
