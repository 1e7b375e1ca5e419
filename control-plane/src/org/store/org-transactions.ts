import {
  BerthError,
  type DocumentStore,
  type Logger,
  toBerthError,
  type Write,
} from "@berth/service-kit";
import type { StateMirror } from "./state-mirror.ts";

/** One change of a transaction, made in memory already. */
export interface Step {
  /** Absent: it is in memory only. */
  readonly write?: Write;
  /** The store has the transaction. */
  readonly commit?: () => void;
  /** It is taken back, because the plan went no further. Steps are undone in reverse order. */
  readonly undo: () => void;
}

/** A transaction that is being planned. */
export interface Plan {
  add(step: Step): void;
}

/** What has a state in memory that writes go ahead of. */
export interface Reloading {
  /** Takes what the store has, and nothing else. */
  reload(): Promise<void>;
}

/** What {@link OrgTransactions} writes with. */
export interface OrgTransactionsDeps {
  readonly store: DocumentStore;
  /** Hears of all that is written; absent: nobody does. */
  readonly mirror?: Pick<StateMirror, "stamp" | "reload"> | undefined;
  readonly logger: Logger;
}

interface Waiting {
  readonly steps: readonly Step[];
  readonly written: () => void;
  readonly failed: (thrown: unknown) => void;
}

/** Transactions that are written together at most. */
const MAX_BATCH = 256;

/**
 * The writes of an org. Each is planned against all writes before it, whether these are durable already or not, so that
 * no two break a rule together, and is durable when it resolves, as a whole. Those that come while others are being written are
 * written together behind them, and only if they were: what was planned on top of a write that failed fails too. What was not
 * durable is forgotten then: all states are read again.
 */
export class OrgTransactions {
  readonly #deps: OrgTransactionsDeps;
  readonly #states: Reloading[] = [];
  #waiting: Waiting[] = [];
  #isWriting = false;
  #failure: string | undefined;
  /** Undefined while nothing went wrong. */
  #repairing: Promise<void> | undefined;

  constructor(deps: OrgTransactionsDeps) {
    this.#deps = deps;
  }

  /** What was wrong with the last write, until one goes well; undefined: nothing. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** States are read again in the order in which they were added. */
  add(state: Reloading): void {
    this.#states.push(state);
  }

  /** Reads all states; called once, before anything is written. */
  async load(): Promise<void> {
    for (const state of this.#states) await state.reload();
  }

  /**
   * Plans a transaction without a pause and writes it. Rejects with what `plan` throws, which has changed nothing then, and with
   * UNAVAILABLE when the store does not take it, or what it was planned on.
   */
  async run<T>(plan: (transaction: Plan) => T): Promise<T> {
    while (this.#repairing !== undefined) await this.#repairing;
    const { steps, result } = planned(plan);
    if (steps.every(({ write }) => write === undefined)) return result;
    await new Promise<void>((written, failed) => {
      this.#waiting.push({ steps, written, failed });
      if (!this.#isWriting) void this.#writeAll();
    });
    return result;
  }

  /** What a transaction would come to now: gives what `plan` gives, or throws what it throws, and changes nothing. */
  async preview<T>(plan: (transaction: Plan) => T): Promise<T> {
    while (this.#repairing !== undefined) await this.#repairing;
    const { steps, result } = planned(plan);
    undo(steps);
    return result;
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_BATCH);
      const writes = batch.flatMap(({ steps }) => steps.flatMap(({ write }) => write ?? []));
      const stamp = this.#deps.mirror?.stamp();
      try {
        await this.#apply(stamp === undefined ? writes : [...writes, stamp.write]);
      } catch (thrown) {
        this.#failure = toBerthError(thrown).message;
        await this.#giveUp(batch, thrown);
        continue;
      }
      this.#failure = undefined;
      stamp?.written(writes);
      for (const { steps, written } of batch) {
        for (const { commit } of steps) commit?.();
        written();
      }
    }
    this.#isWriting = false;
  }

  async #apply(writes: readonly Write[]): Promise<void> {
    const outcome = await this.#deps.store.apply(writes);
    if (outcome.kind === "applied") return;
    const { collection, id } = outcome.key;
    throw new BerthError("UNAVAILABLE", `${collection}/${id} was not written; try again`);
  }

  /** Nothing is on its way any more: what the store has counts. */
  async #giveUp(batch: readonly Waiting[], thrown: unknown): Promise<void> {
    const lost = [...batch, ...this.#waiting];
    this.#waiting = [];
    this.#repairing = this.#reload();
    for (const { failed } of lost) failed(thrown);
    await this.#repairing;
    this.#repairing = undefined;
  }

  async #reload(): Promise<void> {
    const { mirror } = this.#deps;
    for (const state of mirror === undefined ? this.#states : [mirror, ...this.#states]) {
      try {
        await state.reload();
      } catch (err) {
        this.#deps.logger.error("the state of the org could not be read again", { err });
      }
    }
  }
}

function planned<T>(plan: (transaction: Plan) => T): { steps: readonly Step[]; result: T } {
  const steps: Step[] = [];
  try {
    return { result: plan({ add: (step) => steps.push(step) }), steps };
  } catch (thrown) {
    undo(steps);
    throw thrown;
  }
}

function undo(steps: readonly Step[]): void {
  for (const step of steps.toReversed()) step.undo();
}
