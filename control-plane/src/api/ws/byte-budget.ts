/** Bytes that many sockets may hold together; who does not get any waits to be told. */
export class ByteBudget {
  readonly #maxBytes: number;
  readonly #waiting = new Set<() => void>();
  #usedBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes bytes when there is room, also for a whole budget's worth and more when nothing is taken. */
  tryTake(bytes: number): boolean {
    if (this.#usedBytes > 0 && this.#usedBytes + bytes > this.#maxBytes) return false;
    this.#usedBytes += bytes;
    return true;
  }

  /** Gives bytes back, and tells those who wait. */
  giveBack(bytes: number): void {
    this.#usedBytes -= bytes;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const tell of waiting) tell();
  }

  /** Calls `tell` once, when bytes have been given back. */
  whenGivenBack(tell: () => void): void {
    this.#waiting.add(tell);
  }

  /** Forgets a `tell` that was not called yet. */
  forget(tell: () => void): void {
    this.#waiting.delete(tell);
  }
}
