import type { CommandOutcome, Order } from "./command-record.ts";

/** A command that waits for its answer. */
export interface PendingCommand {
  readonly id: string;
  readonly clusterId: string;
  readonly order: Order;
  /** Store that gave the order. */
  readonly storeId: string;
  /** Raised by one with each command of this process: the order in which they are offered. */
  readonly seq: number;
  /** Monotonic, ms. */
  readonly deadlineMs: number;
  /** Term id under which it was last offered, or is to be; undefined when it never was. */
  readonly offeredUnder: string | undefined;
  /** It is not offered any more. */
  readonly isWithdrawn: boolean;
  /** Resolves with what came of it. */
  readonly outcome: Promise<CommandOutcome>;
}

interface Kept extends PendingCommand {
  offeredUnder: string | undefined;
  isWithdrawn: boolean;
  readonly settle: (outcome: CommandOutcome) => void;
  readonly timer: NodeJS.Timeout;
}

/** What {@link PendingCommands.add} keeps. */
export type NewPending = Pick<
  PendingCommand,
  "id" | "clusterId" | "order" | "storeId" | "deadlineMs" | "offeredUnder"
> & {
  readonly timeLeftMs: number;
  readonly onDeadline: () => void;
};

/** The commands in flight, in memory: their waiters, their timers, and who is to be woken for them. */
export class PendingCommands {
  readonly #byId = new Map<string, Kept>();
  readonly #byCluster = new Map<string, Map<string, Kept>>();
  readonly #wakers = new Map<string, Set<() => void>>();
  /** Commands that are being written, by cluster. */
  readonly #reserved = new Map<string, number>();
  #reservedInAll = 0;
  #seq = 0;

  /** Number of commands in flight, with those that are being written. */
  get size(): number {
    return this.#byId.size + this.#reservedInAll;
  }

  /** The same, to one cluster. */
  sizeOf(clusterId: string): number {
    const inFlight = this.#byCluster.get(clusterId)?.size ?? 0;
    return inFlight + (this.#reserved.get(clusterId) ?? 0);
  }

  /** Counts a command that is being written, until the function is called, once. */
  reserve(clusterId: string): () => void {
    const change = (by: 1 | -1) => {
      this.#reservedInAll += by;
      const count = (this.#reserved.get(clusterId) ?? 0) + by;
      if (count === 0) this.#reserved.delete(clusterId);
      else this.#reserved.set(clusterId, count);
    };
    change(1);
    return () => change(-1);
  }

  /** Keeps a command and wakes the streams of its cluster. */
  add({ timeLeftMs, onDeadline, ...command }: NewPending): PendingCommand {
    const { promise: outcome, resolve: settle } = Promise.withResolvers<CommandOutcome>();
    const timer = setTimeout(onDeadline, timeLeftMs);
    timer.unref();
    this.#seq += 1;
    const isWithdrawn = false;
    const kept: Kept = { ...command, isWithdrawn, seq: this.#seq, outcome, settle, timer };
    this.#byId.set(kept.id, kept);
    const cluster = this.#byCluster.get(kept.clusterId) ?? new Map<string, Kept>();
    cluster.set(kept.id, kept);
    this.#byCluster.set(kept.clusterId, cluster);
    for (const wake of this.#wakers.get(kept.clusterId) ?? []) wake();
    return kept;
  }

  /** The oldest commands of a cluster behind a sequence number that may be offered, `limit` at most. */
  next(clusterId: string, afterSeq: number, limit: number): readonly PendingCommand[] {
    const all = this.#byCluster.get(clusterId)?.values() ?? Iterator.from([]);
    return all
      .filter(({ seq, isWithdrawn }) => seq > afterSeq && !isWithdrawn)
      .take(limit)
      .toArray();
  }

  /** Whether a command still waits for its answer and may be offered. */
  mayBeOffered({ id }: PendingCommand): boolean {
    return this.#byId.get(id)?.isWithdrawn === false;
  }

  /** Notes the term id under which a command is to be offered. */
  offer({ id }: PendingCommand, termId: string): void {
    const kept = this.#byId.get(id);
    if (kept !== undefined) kept.offeredUnder = termId;
  }

  /**
   * Takes those of a cluster's commands back that a condition holds for, so that they are not offered any more;
   * gives all that were taken back and have no answer yet.
   */
  withdraw(
    clusterId: string,
    holds: (command: PendingCommand) => boolean,
  ): readonly PendingCommand[] {
    const all = [...(this.#byCluster.get(clusterId)?.values() ?? [])];
    for (const kept of all) kept.isWithdrawn ||= holds(kept);
    return all.filter(({ isWithdrawn }) => isWithdrawn);
  }

  /** Ends a command; its waiter gets the outcome. Nothing happens when it is not in flight. */
  settle(outcome: CommandOutcome): void {
    const kept = this.#byId.get(outcome.commandId);
    if (kept === undefined) return;
    clearTimeout(kept.timer);
    this.#byId.delete(kept.id);
    const cluster = this.#byCluster.get(kept.clusterId);
    cluster?.delete(kept.id);
    if (cluster?.size === 0) this.#byCluster.delete(kept.clusterId);
    kept.settle(outcome);
  }

  /** Wakes the streams of all clusters: there is something else to tell. */
  wakeAll(): void {
    for (const wakers of [...this.#wakers.values()]) for (const wake of [...wakers]) wake();
  }

  /** Resolves when a command of the cluster is added, at {@link wakeAll}, or when the signal is aborted. */
  added(clusterId: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const wakers = this.#wakers.get(clusterId) ?? new Set();
    this.#wakers.set(clusterId, wakers);
    const wake = () => {
      wakers.delete(wake);
      if (wakers.size === 0 && this.#wakers.get(clusterId) === wakers) {
        this.#wakers.delete(clusterId);
      }
      signal.removeEventListener("abort", wake);
      resolve();
    };
    wakers.add(wake);
    signal.addEventListener("abort", wake, { once: true });
    return promise;
  }

  /** Stops every timer, and lets waiters go without an answer, at shutdown. */
  close(): void {
    for (const { id } of [...this.#byId.values()]) {
      this.settle({ kind: "abandoned", commandId: id });
    }
  }
}

/** What came of a command, or `abandoned` as soon as the signal is aborted. */
export async function untilAborted(
  { id, outcome }: PendingCommand,
  signal: AbortSignal | undefined,
): Promise<CommandOutcome> {
  if (signal === undefined) return outcome;
  const abandoned: CommandOutcome = { kind: "abandoned", commandId: id };
  if (signal.aborted) return abandoned;
  const { promise, resolve } = Promise.withResolvers<CommandOutcome>();
  const stop = () => resolve(abandoned);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([outcome, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
