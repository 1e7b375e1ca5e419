/** Tells of changes, and lets others wait for what they bring. */
export class Changes {
  readonly #listeners = new Set<() => void>();

  /** Tells everybody who listens now. */
  tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** Calls back at each change; gives the function that ends that. */
  on(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Calls back once for the changes of a moment, when that is over; gives the function that ends that. */
  onGathered(listener: () => void): () => void {
    let isDue = false;
    let isOn = true;
    const end = this.on(() => {
      if (isDue) return;
      isDue = true;
      setImmediate(() => {
        isDue = false;
        if (isOn) listener();
      });
    });
    return () => {
      isOn = false;
      end();
    };
  }

  /** Resolves once it is so; rejects with the signal's reason when that is aborted first. */
  until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        if (!isSo() && !signal.aborted) return;
        end();
        signal.removeEventListener("abort", settle);
        if (isSo()) resolve();
        else reject(signal.reason);
      };
      const end = this.on(settle);
      signal.addEventListener("abort", settle);
      settle();
    });
  }
}

/** A promise, or the rejection with the signal's reason when that is aborted first. */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
