/** What came of asking a {@link ByteBudget}: `late` and `crowded` are to be told to who asked, `gone` is not. */
export type BudgetAnswer = "taken" | "late" | "crowded" | "gone";

/** Bounds of a {@link ByteBudget}. */
export interface ByteBudgetLimits {
  readonly maxBytes: number;
  /** How many may wait at a time. */
  readonly maxWaiting: number;
  /** Longest wait, in ms. */
  readonly waitMs: number;
}

interface Waiting {
  readonly bytes: number;
  readonly settle: (answer: BudgetAnswer) => void;
}

/** Bytes that many may hold together. Who waits for some gets them in the order of asking, or an answer in time. */
export class ByteBudget {
  readonly #limits: ByteBudgetLimits;
  readonly #waiting = new Set<Waiting>();
  #usedBytes = 0;

  constructor(limits: ByteBudgetLimits) {
    this.#limits = limits;
  }

  get maxBytes(): number {
    return this.#limits.maxBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes bytes when nobody waits and there is room; a whole budget's worth and more when nothing is taken. */
  tryTake(bytes: number): boolean {
    return this.#waiting.size === 0 && this.#takeIfRoom(bytes);
  }

  /** Takes bytes when it is their turn. Never rejects. */
  take(bytes: number, signal: AbortSignal): Promise<BudgetAnswer> {
    if (signal.aborted) return Promise.resolve("gone");
    if (this.tryTake(bytes)) return Promise.resolve("taken");
    const { maxWaiting, waitMs } = this.#limits;
    if (this.#waiting.size >= maxWaiting) return Promise.resolve("crowded");
    const { promise, resolve } = Promise.withResolvers<BudgetAnswer>();
    const onAbort = () => waiting.settle("gone");
    const timer = setTimeout(() => waiting.settle("late"), waitMs);
    const waiting: Waiting = {
      bytes,
      settle: (answer) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#waiting.delete(waiting);
        resolve(answer);
        // Those behind it may need less.
        if (answer !== "taken") this.#serve();
      },
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting.add(waiting);
    return promise;
  }

  /** Gives bytes back, and serves those who wait. */
  giveBack(bytes: number): void {
    this.#usedBytes -= bytes;
    this.#serve();
  }

  #serve(): void {
    for (const waiting of this.#waiting) {
      if (!this.#takeIfRoom(waiting.bytes)) return;
      waiting.settle("taken");
    }
  }

  #takeIfRoom(bytes: number): boolean {
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > this.#limits.maxBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }
}
