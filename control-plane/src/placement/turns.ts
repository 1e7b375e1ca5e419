import { BerthError } from "@berth/service-kit";

/** Lets a bounded number of works be done at a time, the others in the order of asking; they may wait for long. */
export class Turns {
  readonly #most: number;
  readonly #waiting = new Set<() => void>();
  #underWay = 0;

  /** @param most works at a time */
  constructor(most: number) {
    this.#most = most;
  }

  /** Result of the work, which begins when it is its turn; the signal's reason when that is aborted first. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.#underWay < this.#most) this.#underWay += 1;
    else await this.#place(signal);
    try {
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#underWay -= 1;
      else {
        this.#waiting.delete(next);
        next();
      }
    }
  }

  async #place(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => {
      this.#waiting.delete(resolve);
      reject(signal.reason ?? new BerthError("CANCELED", "the wait was ended"));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(resolve);
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}
