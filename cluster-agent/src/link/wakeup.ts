/** Lets others wait for the next time that something happens. */
export class Wakeup {
  readonly #waiting = new Set<() => void>();

  /** Wakes everybody who waits. */
  wake(): void {
    for (const wake of this.#waiting) wake();
  }

  /** Resolves at the next {@link wake}, or when the signal is aborted. Never rejects. */
  wait(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }
}

/** Resolves at the first wake-up of several, or when the signal is aborted. Never rejects. */
export async function firstWakeup(
  signal: AbortSignal,
  waits: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  try {
    await Promise.race(waits.map((wait) => wait(either)));
  } finally {
    done.abort();
  }
}
