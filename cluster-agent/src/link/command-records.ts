import { type Command, CommandSchema } from "@berth/proto";
import { BerthError, type Clock, toBerthError } from "@berth/service-kit";
import { toBinary } from "@bufbuild/protobuf";
import type {
  CommandJournal,
  CommandResult,
  JournalEntry,
  JournalVerdict,
} from "./command-journal.ts";
import { type Authority, judgeOrder } from "./fence.ts";
import type { Insisted } from "./insist.ts";
import type { OrderHandlers } from "./order-handler.ts";

const MAX_COMMAND_ID_CHARACTERS = 128;

/** A command that is written down and waits for its turn. */
export interface Recorded {
  readonly kind: "recorded";
  readonly command: Command;
  readonly entry: JournalEntry;
  /** It was written down before, by a process that did not come to its result. */
  readonly resumed: boolean;
  /** When its time is over, on the monotonic clock: it runs from the moment that the command was read. */
  readonly endsAtMs: number;
}

/** A command that is not carried out now. */
export interface Answered {
  readonly kind: "answered";
  readonly result: CommandResult;
  /** The result is in the journal; a refusal is not. */
  readonly isKept: boolean;
}

/** What {@link CommandRecords} needs. */
export interface CommandRecordsDeps {
  readonly journal: CommandJournal;
  readonly handlers: OrderHandlers;
  /** Revision of the cluster's ledger: what `target_revision` is compared with. */
  readonly ledgerRevision: () => bigint;
  readonly clock: Clock;
  /** Asks a store that fails until it answers, or the agent stops. */
  readonly insist: <T>(id: string, task: () => Promise<T>) => Promise<Insisted<T>>;
  readonly onFailure: (id: string, err: unknown) => void;
}

/** Judges orders, and writes down those that are to be carried out before anything is done. */
export class CommandRecords {
  readonly #deps: CommandRecordsDeps;

  constructor(deps: CommandRecordsDeps) {
    this.#deps = deps;
  }

  /**
   * Judges a command and writes it down, unless it is refused. Rejects when it may be written down or not: then it
   * must not be begun.
   */
  async record(command: Command, authority: Authority): Promise<Recorded | Answered> {
    const { commandId: id } = command;
    const endsAtMs = this.#deps.clock.nowMs() + command.timeoutMs;
    // What was carried out stays so, whoever asks: a refusal would hide it.
    const found = await this.#lookUp(id);
    if (found.kind === "stopped") throw new BerthError("UNAVAILABLE", "the agent stops");
    const known = found.value;
    if (known?.result !== undefined) return answered(known.result);
    if (known !== undefined)
      return { kind: "recorded", command, entry: known, resumed: true, endsAtMs };
    const refusal = this.#refusalOf(command, authority);
    if (refusal !== undefined) return refused(refusal);
    const verdict = await this.#journal(command);
    if (verdict.kind === "refused") return refused(verdict);
    if (verdict.kind === "done") return answered(verdict.result);
    if (verdict.kind === "begun") return { ...verdict, kind: "recorded", command, endsAtMs };
    const message = "the agent holds too many results that were never acknowledged";
    return refused({ reason: "OVERLOADED", message });
  }

  /** What is known of a command: asked until the store tells, as nobody can be answered without. */
  async #lookUp(id: string): Promise<Insisted<JournalEntry | undefined>> {
    if (id.length > MAX_COMMAND_ID_CHARACTERS) return { kind: "done", value: undefined };
    return this.#deps.insist(id, () => this.#deps.journal.lookUp(id));
  }

  async #journal(
    command: Command,
  ): Promise<JournalVerdict | { kind: "refused"; reason: string; message: string }> {
    const { commandId: id } = command;
    try {
      return await this.#deps.journal.begin(id, encode(command));
    } catch (thrown) {
      const { reason, message } = toBerthError(thrown);
      // Any other failure does not say that nothing was recorded, so nobody can be told so.
      if (reason !== "UNAVAILABLE") throw thrown;
      this.#deps.onFailure(id, thrown);
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
}

function answered(result: CommandResult): Answered {
  return { kind: "answered", result, isKept: true };
}

function refused({ reason, message }: { reason: string; message: string }): Answered {
  return { kind: "answered", result: { kind: "refusal", reason, message }, isKept: false };
}

function encode(command: Command): string {
  return Buffer.from(toBinary(CommandSchema, command)).toString("base64");
}
