/** What is counted of an allocation. */
export interface CountedAllocation {
  readonly outcome: string;
  /** `total` in ms. */
  readonly timings_ms: { readonly total: number };
}

/** Upper bounds of the buckets, in seconds: from a warm policy to the longest that one may take. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;

/** Counts allocations since the start. */
export class AllocationCounter {
  readonly #byOutcome = new Map(["placed", "unschedulable", "failed"].map((key) => [key, 0]));
  readonly #counts = [...BOUNDS.map(() => 0), 0];
  #totalMs = 0;

  /** An allocation has ended. */
  add({ outcome, timings_ms: { total } }: CountedAllocation): void {
    this.#byOutcome.set(outcome, (this.#byOutcome.get(outcome) ?? 0) + 1);
    this.#totalMs += total;
    const above = BOUNDS.findIndex((bound) => total <= bound * 1_000);
    const bucket = above === -1 ? BOUNDS.length : above;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  /** How many ended how. */
  get byOutcome(): ReadonlyMap<string, number> {
    return this.#byOutcome;
  }

  /** How long they took, in seconds. */
  get seconds() {
    return { bounds: BOUNDS, counts: this.#counts, sum: this.#totalMs / 1_000 };
  }
}
