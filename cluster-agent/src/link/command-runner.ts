import { type Command, CommandSchema } from "@berth/proto";
import {
  type BackoffOptions,
  type Clock,
  type Logger,
  Serial,
  toBerthError,
} from "@berth/service-kit";
import { fromBinary } from "@bufbuild/protobuf";
import type { CommandJournal, CommandResult, JournalEntry } from "./command-journal.ts";
import { type CommandLane, laneOf } from "./command-lane.ts";
import { CommandRecords, type Recorded } from "./command-records.ts";
import type { Authority } from "./fence.ts";
import { type Insisted, insist } from "./insist.ts";
import { LateAcknowledgements } from "./late-acknowledgements.ts";
import type { OrderHandlers, OrderOutcome } from "./order-handler.ts";
import { Wakeup } from "./wakeup.ts";

/** Commands of one lane that run at once. */
const MAX_RUNNING = 8;
/** Commands that wait for their turn; more wait on the control-plane's side, with their time standing still. */
const MAX_WAITING = 1_000;
/** Answers that wait for the control-plane; a refusal beyond that is not kept: the order is offered again. */
const MAX_OUTSTANDING = 10_000;
/** Longest wait of a Node timer. */
const LONGEST_TIMER_MS = 2_147_483_647;
/** Time that a command gets which is taken up again after a crash, ms: more than the longest order takes. */
const RESUMED_MS = 90_000;
/** Delays before the store is asked again for what it has to take, or give. */
const STORE_RETRY: BackoffOptions = { firstMs: 200, capMs: 10_000 };

/** A result on its way to the control-plane. */
export interface Completion {
  readonly commandId: string;
  readonly result: CommandResult;
  readonly ledgerRevision: bigint;
  /** It is in the journal; a refusal of what was never begun is not. */
  readonly isKept: boolean;
}

/** What {@link CommandRunner} needs. */
export interface CommandRunnerDeps {
  readonly journal: CommandJournal;
  readonly handlers: OrderHandlers;
  /** Revision of the cluster's ledger: what `target_revision` is compared with. */
  readonly ledgerRevision: () => bigint;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Delays between attempts at a store that fails; 200 ms to 10 s by default. */
  readonly storeRetry?: BackoffOptions;
}

/**
 * Carries out orders, each once: over reconnects, over repeated offers, and over restarts. Outlives the
 * sessions; a result is given out by {@link nextCompletion} until it is acknowledged.
 */
export class CommandRunner {
  readonly #deps: CommandRunnerDeps;
  readonly #intake = new Serial();
  readonly #records: CommandRecords;
  /** Oldest first. */
  readonly #waiting = new Map<string, Recorded & { readonly lane: CommandLane }>();
  readonly #running = new Map<string, Promise<void>>();
  /** How many of each lane run. */
  readonly #used: Record<CommandLane, number> = { quick: 0, slow: 0, trial: 0 };
  readonly #outstanding = new Map<string, Completion>();
  readonly #completed = new Wakeup();
  readonly #freed = new Wakeup();
  readonly #stop = new AbortController();
  readonly #lateAcks: LateAcknowledgements;
  #observing = false;

  constructor(deps: CommandRunnerDeps) {
    this.#deps = deps;
    this.#records = new CommandRecords({
      ...deps,
      insist: (id, task) => this.#insist(id, task),
      onFailure: (id, err) => this.#tellStoreFailure(id, err),
    });
    this.#lateAcks = new LateAcknowledgements({
      journal: deps.journal,
      retry: deps.storeRetry ?? STORE_RETRY,
      signal: this.#stop.signal,
      onFailure: (id, err) => this.#tellStoreFailure(id, err),
    });
  }

  /** Goes on with what the last process began, and gives out what was not acknowledged. */
  async resume(): Promise<void> {
    for (const { id, entry } of await this.#deps.journal.unfinished()) {
      if (entry.result !== undefined) this.#complete(id, { result: entry.result, isKept: true });
      // All at once, in places of the slow lane: what is quick never waits for them.
      else this.#track(id, "slow", () => this.#continue(id, entry));
    }
  }

  /**
   * Takes an order in, one after the other: it is judged, recorded, told as recorded, and has its turn when fewer
   * of its lane run. Waits while too many wait, so that the stream stops pulling. Never rejects; a result comes
   * through {@link nextCompletion}. `onRecorded` may take its time: the order is not begun before.
   */
  take(
    command: Command,
    authority: Authority,
    { signal, onRecorded }: { signal: AbortSignal; onRecorded?: () => Promise<void> },
  ): Promise<void> {
    return this.#intake.run(async () => {
      const { commandId: id } = command;
      while (this.#waiting.size >= MAX_WAITING && !signal.aborted) await this.#freed.wait(signal);
      if (signal.aborted || this.#stop.signal.aborted) return;
      try {
        const recorded = this.#holds(id) ? undefined : await this.#record(command, authority);
        await onRecorded?.();
        if (recorded !== undefined) this.#waiting.set(id, { ...recorded, lane: laneOf(command) });
      } catch (err) {
        // Not recorded means not acted on: the control-plane offers it again.
        this.#deps.logger.error("a command was not recorded", { command_id: id, err });
      }
      this.#startWaiting();
    });
  }

  /**
   * Whether the agent only observes its control-plane: results wait then, as they are for the store that gave the
   * orders. A refusal of what the observed one asks is given out.
   */
  set observing(observing: boolean) {
    this.#observing = observing;
    this.#completed.wake();
  }

  /** The oldest result that may be given out and is not acknowledged; waits for one. Undefined when aborted. */
  async nextCompletion(signal: AbortSignal): Promise<Completion | undefined> {
    while (!signal.aborted) {
      const all = this.#outstanding.values();
      const oldest = this.#observing ? all.find(({ isKept }) => !isKept) : all.next().value;
      if (oldest !== undefined) return oldest;
      await this.#completed.wait(signal);
    }
    return undefined;
  }

  /** The control-plane did not take a result; `isFinal` when it never will. */
  notTaken(commandId: string, { why, isFinal }: { why: string; isFinal: boolean }): void {
    const message = isFinal
      ? "the control-plane does not want a result"
      : "a result was not taken, trying again";
    this.#deps.logger.warn(message, { command_id: commandId, why });
  }

  /**
   * The control-plane has the result, or will never want it. Never rejects: what the store does not take now
   * is written later, as no other result must wait for it.
   */
  async acknowledged(commandId: string): Promise<void> {
    try {
      await this.#deps.journal.acknowledge(commandId);
    } catch (thrown) {
      this.#tellStoreFailure(commandId, thrown);
      this.#lateAcks.add(commandId);
    }
    this.#outstanding.delete(commandId);
  }

  /** Aborts the handlers and waits for them. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled(this.#running.values());
    await this.#lateAcks.settled();
  }

  #track(id: string, lane: CommandLane, run: () => Promise<void>): void {
    this.#used[lane] += 1;
    const running = run()
      .catch((err: unknown) => this.#deps.logger.error("a command failed", { command_id: id, err }))
      .finally(() => {
        this.#used[lane] -= 1;
        this.#running.delete(id);
        this.#startWaiting();
      });
    this.#running.set(id, running);
  }

  #startWaiting(): void {
    for (const [id, recorded] of this.#waiting) {
      if (this.#stop.signal.aborted) return;
      const { lane } = recorded;
      if (this.#used[lane] >= MAX_RUNNING) continue;
      this.#waiting.delete(id);
      this.#freed.wake();
      this.#track(id, lane, () => this.#begin(id, recorded));
    }
  }

  #holds(id: string): boolean {
    return this.#waiting.has(id) || this.#running.has(id) || this.#outstanding.has(id);
  }

  /** Gives what is to be carried out; a command that is not has its answer. Rejects when it is not recorded. */
  async #record(command: Command, authority: Authority): Promise<Recorded | undefined> {
    const recorded = await this.#records.record(command, authority);
    if (recorded.kind === "recorded") return recorded;
    // A refusal beyond the bound is not kept: the order is offered again.
    const hasRoom = recorded.isKept || this.#outstanding.size < MAX_OUTSTANDING;
    if (hasRoom) this.#complete(command.commandId, recorded);
    return undefined;
  }

  async #begin(id: string, recorded: Recorded): Promise<void> {
    const { command, entry, resumed, endsAtMs } = recorded;
    const timeLeftMs = Math.floor(endsAtMs - this.#deps.clock.nowMs());
    if (timeLeftMs > 0 || resumed) {
      const left = Math.max(timeLeftMs, 0);
      return this.#carryOut(id, command, { entry, resumed, timeLeftMs: left });
    }
    const message = `timeout_ms: the command's ${command.timeoutMs} ms were over before its turn came; nothing was done`;
    const result = { kind: "refusal", reason: "DEADLINE_EXCEEDED", message } as const;
    await this.#finish(id, { memory: entry.memory, result });
  }

  async #continue(id: string, entry: JournalEntry): Promise<void> {
    const command = fromBinary(CommandSchema, Buffer.from(entry.command, "base64"));
    await this.#carryOut(id, command, { entry, resumed: true, timeLeftMs: RESUMED_MS });
  }

  async #carryOut(
    id: string,
    command: Command,
    how: { readonly entry: JournalEntry; readonly resumed: boolean; readonly timeLeftMs: number },
  ): Promise<void> {
    const { handlers, logger } = this.#deps;
    const { resumed, entry, timeLeftMs } = how;
    const over = AbortSignal.timeout(Math.min(timeLeftMs, LONGEST_TIMER_MS));
    const signal = AbortSignal.any([over, this.#stop.signal]);
    const handler = handlers.get(command.order.case ?? "");
    let outcome: OrderOutcome;
    try {
      if (handler === undefined) throw new Error(`no handler of order ${command.order.case}`);
      const { storeId = "", controllerTerm = 0n } = command.fence ?? {};
      outcome = await handler(command.order, {
        ...{ commandId: id, resumed, timeLeftMs, signal },
        fence: { storeId, controllerTerm: String(controllerTerm) },
        memory: entry.memory,
      });
    } catch (thrown) {
      // Begun and cut off by our own end: the next start goes on with it.
      if (this.#stop.signal.aborted) return;
      logger.error("an order failed", { command_id: id, order: command.order.case, err: thrown });
      const { reason, message } = toBerthError(thrown);
      outcome = { kind: "refusal", reason, message };
    }
    const memory = outcome.kind === "result" ? outcome.memory : entry.memory;
    const result: CommandResult =
      outcome.kind === "result" ? { kind: "result", json: outcome.json } : outcome;
    // The handler has acted: its result waits for the store, or for the next start.
    await this.#finish(id, { memory, result });
  }

  async #finish(
    id: string,
    outcome: Pick<JournalEntry, "memory"> & { readonly result: CommandResult },
  ): Promise<void> {
    const finished = await this.#insist(id, () => this.#deps.journal.finish(id, outcome));
    if (finished.kind === "done") this.#complete(id, { result: outcome.result, isKept: true });
  }

  #insist<T>(id: string, task: () => Promise<T>): Promise<Insisted<T>> {
    return insist(task, {
      retry: this.#deps.storeRetry ?? STORE_RETRY,
      signal: this.#stop.signal,
      onFailure: (thrown) => this.#tellStoreFailure(id, thrown),
    });
  }

  #tellStoreFailure(id: string, err: unknown): void {
    this.#deps.logger.error("the store failed a command", { command_id: id, err });
  }

  #complete(commandId: string, { result, isKept }: Pick<Completion, "result" | "isKept">): void {
    const ledgerRevision = this.#deps.ledgerRevision();
    this.#outstanding.set(commandId, { commandId, result, ledgerRevision, isKept });
    this.#completed.wake();
  }
}
