/** Lets who asks go on in the order of asking, each in a turn of the event loop of its own. */
export class WatchTurns {
  readonly #waiting: (() => void)[] = [];

  /** Resolves in the asker's turn. */
  take(): Promise<void> {
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
