/** Lets others have their turn during long works; the allocator's `Pacer` is one. */
export interface Pace {
  /**
   * Does a work that pauses where others could have their turn. Rejects with what the work throws, and with
   * the signal's reason as soon as it is aborted.
   */
  run<T>(work: Generator<void, T>, signal: AbortSignal): Promise<T>;
}
