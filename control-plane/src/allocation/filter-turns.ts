import { BerthError, type Pacer } from "@berth/service-kit";

/** A work that is done within so many ms is done at once, whatever else is under way. */
const QUICK_MS = 8;

/** How many long works there may be. */
export interface FilterLimits {
  /** Works that share the time. */
  readonly underWay: number;
  /** Works that wait for one of those to end. */
  readonly waiting: number;
  /** Longest wait in ms. */
  readonly waitMs: number;
}

/** A filter takes 20,000,000 steps at most, so eight share the time for up to some 15 s. */
export const FILTER_LIMITS: FilterLimits = { underWay: 8, waiting: 1_000, waitMs: 10_000 };

const TOO_MANY =
  "filter: too many that take long are under way; ask again, or with fewer conditions";

/** Looks through filters: quick ones at once, and of those that take longer a few at a time, in their order. */
export class FilterTurns {
  readonly #pacer: Pacer;
  readonly #limits: FilterLimits;
  readonly #waiting = new Set<() => void>();
  #underWay = 0;

  constructor(pacer: Pacer, limits: FilterLimits = FILTER_LIMITS) {
    this.#pacer = pacer;
    this.#limits = limits;
  }

  /**
   * Does a work that pauses where others could have their turn, a fraction of a millisecond apart. Rejects with
   * what the work throws, with OVERLOADED when too many others take long, and with the signal's reason as soon
   * as it is aborted.
   */
  async run<T>(work: Generator<void, T>, signal: AbortSignal): Promise<T> {
    const quickUntil = performance.now() + QUICK_MS;
    do {
      const piece = work.next();
      if (piece.done === true) return piece.value;
    } while (performance.now() < quickUntil);
    await this.#enter(signal);
    try {
      return await this.#pacer.run(work, signal);
    } finally {
      this.#leave();
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#underWay < this.#limits.underWay) {
      this.#underWay += 1;
      return;
    }
    if (this.#waiting.size >= this.#limits.waiting) throw new BerthError("OVERLOADED", TOO_MANY);
    await this.#wait(signal);
  }

  /** Resolves with the place of a work that has ended. */
  async #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // Whoever gives up is out of the list at once: a place that is handed to him would be lost.
    const giveUp = (reason: unknown) => {
      this.#waiting.delete(resolve);
      reject(reason);
    };
    const onAbort = () => giveUp(signal.reason);
    const onDeadline = () => giveUp(new BerthError("OVERLOADED", TOO_MANY));
    const timer = setTimeout(onDeadline, this.#limits.waitMs);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Hands the place on to whoever waits longest. */
  #leave(): void {
    for (const next of this.#waiting) {
      this.#waiting.delete(next);
      next();
      return;
    }
    this.#underWay -= 1;
  }
}
