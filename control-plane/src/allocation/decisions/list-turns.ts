import { BerthError } from "@berth/service-kit";

/** How many lists there may be. */
export interface ListLimits {
  /** Lists that are made at a time. */
  readonly underWay: number;
  /** Lists that wait for one of those to end. */
  readonly waiting: number;
  /** Longest wait in ms. */
  readonly waitMs: number;
}

/** A list takes a few tens of ms, and up to a second when it has to look at 64 MiB. */
export const LIST_LIMITS: ListLimits = { underWay: 2, waiting: 1_000, waitMs: 10_000 };

const TOO_MANY = "too many lists of decisions are asked for at once: try again in a moment";

/** Lets a few lists be made at a time, the others in the order of asking. */
export class ListTurns {
  readonly #limits: ListLimits;
  /** What gives its place to each of those that wait. */
  readonly #waiting = new Set<() => void>();
  #underWay = 0;

  constructor(limits: ListLimits = LIST_LIMITS) {
    this.#limits = limits;
  }

  /**
   * Result of the work, which begins when it is its turn. Rejects with OVERLOADED when too many wait, or after too long
   * a wait, and with the signal's reason when that is aborted first: the work is then never begun.
   */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.#underWay < this.#limits.underWay) this.#underWay += 1;
    else await this.#place(signal);
    try {
      return await work();
    } finally {
      this.#handOn();
    }
  }

  /** The place of one that has ended. */
  async #place(signal: AbortSignal): Promise<void> {
    const { waiting, waitMs } = this.#limits;
    if (this.#waiting.size >= waiting) throw new BerthError("OVERLOADED", TOO_MANY);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const giveUp = (reason: unknown) => {
      // At once, or it might still be given a place.
      this.#waiting.delete(resolve);
      reject(reason);
    };
    const onAbort = () => giveUp(signal.reason);
    const timer = setTimeout(() => giveUp(new BerthError("OVERLOADED", TOO_MANY)), waitMs);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  #handOn(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#underWay -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
