/** What is counted of an allocation. */
export interface CountedAllocation {
  readonly outcome: string;
  /** `total` in ms. */
  readonly timings_ms: { readonly total: number };
}

/** Counts allocations since the start. */
export class AllocationCounter {
  readonly #byOutcome = new Map(["placed", "unschedulable", "failed"].map((key) => [key, 0]));
  #totalMs = 0;

  /** An allocation has ended. */
  add({ outcome, timings_ms: { total } }: CountedAllocation): void {
    this.#byOutcome.set(outcome, (this.#byOutcome.get(outcome) ?? 0) + 1);
    this.#totalMs += total;
  }

  /** How many ended how. */
  get byOutcome(): ReadonlyMap<string, number> {
    return this.#byOutcome;
  }

  /** Time of all of them together, in seconds. */
  get seconds(): number {
    return this.#totalMs / 1_000;
  }
}
