/** Longest stretch of one work in ms, before others have their turn of the event loop. */
const STRETCH_MS = 8;

/**
 * Does long works piece by piece. Between two pieces of 8 ms everything else that waits has
 * its turn, and of several long works one goes on per turn, so that they cannot hold up others together. A
 * work that is done within its first piece never waits.
 */
export class Pacer {
  readonly #waiting: (() => void)[] = [];

  /**
   * Does a work that pauses where others could have their turn, a fraction of a millisecond apart. Rejects with
   * what the work throws, and with the signal's reason as soon as it is aborted.
   */
  async run<T>(work: Generator<void, T>, signal: AbortSignal): Promise<T> {
    let begunAt = performance.now();
    for (let piece = work.next(); ; piece = work.next()) {
      if (piece.done === true) return piece.value;
      if (performance.now() - begunAt < STRETCH_MS) continue;
      await this.#turn();
      signal.throwIfAborted();
      begunAt = performance.now();
    }
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === 1) setImmediate(() => this.#next());
    });
  }

  #next(): void {
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(() => this.#next());
  }
}
