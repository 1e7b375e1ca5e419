import { type Command, CommandSchema } from "@berth/proto";
import { type BackoffOptions, type Clock, type Logger, toBerthError } from "@berth/service-kit";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type {
  CommandJournal,
  CommandResult,
  JournalEntry,
  JournalVerdict,
} from "./command-journal.ts";
import { type Authority, judgeOrder } from "./fence.ts";
import { type Insisted, insist } from "./insist.ts";
import { LateAcknowledgements } from "./late-acknowledgements.ts";
import type { OrderHandlers, OrderOutcome } from "./order-handler.ts";
import { Wakeup } from "./wakeup.ts";

/** Commands that run at once; more wait on the control-plane's side. */
const MAX_RUNNING = 8;
/** Answers that wait for the control-plane; a refusal beyond that is not kept: the order is offered again. */
const MAX_OUTSTANDING = 10_000;
const MAX_COMMAND_ID_CHARACTERS = 128;
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
  readonly #running = new Map<string, Promise<void>>();
  readonly #outstanding = new Map<string, Completion>();
  readonly #completed = new Wakeup();
  readonly #freed = new Wakeup();
  readonly #stop = new AbortController();
  readonly #lateAcks: LateAcknowledgements;

  constructor(deps: CommandRunnerDeps) {
    this.#deps = deps;
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
      if (entry.result !== undefined) this.#complete(id, entry.result);
      else this.#track(id, () => this.#continue(id, entry));
    }
  }

  /**
   * Takes an order in. Waits while too many run, so that the stream stops pulling. A result comes through {@link nextCompletion}.
   */
  async take(command: Command, authority: Authority, signal: AbortSignal): Promise<void> {
    const { commandId: id } = command;
    while (this.#running.size >= MAX_RUNNING && !signal.aborted) await this.#freed.wait(signal);
    const isOver = signal.aborted || this.#stop.signal.aborted;
    if (isOver || this.#running.has(id) || this.#outstanding.has(id)) return;
    this.#track(id, () => this.#judge(command, authority));
  }

  /** The oldest result that is not acknowledged; waits for one. Undefined when aborted. */
  async nextCompletion(signal: AbortSignal): Promise<Completion | undefined> {
    while (!signal.aborted) {
      const [oldest] = this.#outstanding.values();
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

  #track(id: string, run: () => Promise<void>): void {
    const running = run()
      .catch((thrown: unknown) => {
        // Not recorded means not acted on: the control-plane offers it again.
        this.#deps.logger.error("a command failed", { command_id: id, err: thrown });
      })
      .finally(() => {
        this.#running.delete(id);
        this.#freed.wake();
      });
    this.#running.set(id, running);
  }

  async #judge(command: Command, authority: Authority): Promise<void> {
    const { commandId: id } = command;
    // What was carried out stays so, whoever asks: a refusal would hide it.
    const found = await this.#lookUp(id);
    if (found.kind === "stopped") return;
    const known = found.value;
    if (known?.result !== undefined) return this.#complete(id, known.result);
    const { timeoutMs: timeLeftMs } = command;
    if (known !== undefined) {
      return this.#carryOut(id, command, { entry: known, resumed: true, timeLeftMs });
    }
    const refusal = this.#refusalOf(command, authority);
    if (refusal !== undefined) return this.#refuse(id, refusal);
    const verdict = await this.#begin(command);
    if (verdict.kind === "refused") return this.#refuse(id, verdict);
    if (verdict.kind === "done") return this.#complete(id, verdict.result);
    if (verdict.kind === "full") {
      const message = "the agent holds too many results that were never acknowledged";
      return this.#refuse(id, { reason: "OVERLOADED", message });
    }
    await this.#carryOut(id, command, { ...verdict, timeLeftMs });
  }

  /** What is known of a command: asked until the store tells, as nobody can be answered without. */
  async #lookUp(id: string): Promise<Insisted<JournalEntry | undefined>> {
    if (id.length > MAX_COMMAND_ID_CHARACTERS) return { kind: "done", value: undefined };
    return this.#insist(id, () => this.#deps.journal.lookUp(id));
  }

  async #begin(
    command: Command,
  ): Promise<JournalVerdict | { kind: "refused"; reason: string; message: string }> {
    const { commandId: id } = command;
    try {
      return await this.#deps.journal.begin(id, encode(command));
    } catch (thrown) {
      const { reason, message } = toBerthError(thrown);
      // Any other failure does not say that nothing was recorded, so nobody can be told so.
      if (reason !== "UNAVAILABLE") throw thrown;
      this.#tellStoreFailure(id, thrown);
      const why = `the agent cannot record the command: ${message}; nothing was done`;
      return { kind: "refused", reason, message: why };
    }
  }

  #refusalOf(command: Command, authority: Authority) {
    const { commandId, targetRevision, order, timeoutMs } = command;
    if (commandId === "" || commandId.length > MAX_COMMAND_ID_CHARACTERS) {
      const message = `command_id: expected 1-${MAX_COMMAND_ID_CHARACTERS} characters`;
      return { reason: "INVALID_ARGUMENT", message };
    }
    const fenced = judgeOrder(command.fence, authority);
    if (fenced !== undefined) return fenced;
    const revision = this.#deps.ledgerRevision();
    if (targetRevision !== 0n && targetRevision !== revision) {
      const message = `target_revision: the order was decided on ${targetRevision}, the ledger is at ${revision}`;
      return { reason: "CONFLICT", message };
    }
    if (order.case === undefined || !this.#deps.handlers.has(order.case)) {
      const message = "order: this agent does not know it; upgrade the agent";
      return { reason: "UNIMPLEMENTED", message };
    }
    if (timeoutMs === 0) {
      return { reason: "DEADLINE_EXCEEDED", message: "timeout_ms: no time is left" };
    }
    return undefined;
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
    const { journal, handlers, logger } = this.#deps;
    const { resumed, entry, timeLeftMs } = how;
    const over = AbortSignal.timeout(Math.min(timeLeftMs, LONGEST_TIMER_MS));
    const signal = AbortSignal.any([over, this.#stop.signal]);
    const handler = handlers.get(command.order.case ?? "");
    let outcome: OrderOutcome;
    try {
      if (handler === undefined) throw new Error(`no handler of order ${command.order.case}`);
      outcome = await handler(command.order, {
        ...{ commandId: id, resumed, signal },
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
    const finished = await this.#insist(id, () => journal.finish(id, { memory, result }));
    if (finished.kind === "done") this.#complete(id, result);
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

  #refuse(id: string, { reason, message }: { reason: string; message: string }): void {
    if (this.#outstanding.size >= MAX_OUTSTANDING) return;
    this.#complete(id, { kind: "refusal", reason, message });
  }

  #complete(commandId: string, result: CommandResult): void {
    const ledgerRevision = this.#deps.ledgerRevision();
    this.#outstanding.set(commandId, { commandId, result, ledgerRevision });
    this.#completed.wake();
  }
}

function encode(command: Command): string {
  return Buffer.from(toBinary(CommandSchema, command)).toString("base64");
}
