import type { Part } from "./lifecycle.ts";

/** What a {@link Recurring} does. */
export interface RecurringOptions {
  readonly name: string;
  readonly everyMs: number;
  readonly task: () => Promise<void>;
  /** Hears of what the task rejects with. Must not throw. */
  readonly onFailure: (err: unknown) => void;
}

/**
 * A {@link Part} that does a task in an interval, and whenever it is woken, one at a time: who wakes it while it does is not heard until
 * the next interval. At the end the task that is under way is waited for.
 */
export class Recurring implements Part {
  readonly name: string;
  readonly #options: RecurringOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: RecurringOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Does the task now, unless it is being done, or was stopped. */
  wake(): void {
    if (this.#isStopped) return;
    const { task, onFailure } = this.#options;
    this.#running ??= task()
      .catch(onFailure)
      .finally(() => {
        this.#running = undefined;
      });
  }

  async start(): Promise<void> {
    this.#timer = setInterval(() => this.wake(), this.#options.everyMs);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }
}
