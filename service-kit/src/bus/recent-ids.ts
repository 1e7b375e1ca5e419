import type { Clock } from "../clock.ts";

const WINDOW_MS = 120_000;
const MOST_IDS = 100_000;

/** Ids of the last 2 minutes, at most the newest 100,000. */
export class RecentIds {
  readonly #clock: Clock;
  /** Id and when it came, oldest first. */
  readonly #cameAtMs = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the id came within the last 2 minutes. */
  has(id: string): boolean {
    this.#forget();
    return this.#cameAtMs.has(id);
  }

  /** Notes that the id came now. */
  add(id: string): void {
    this.#forget();
    this.#cameAtMs.delete(id);
    this.#cameAtMs.set(id, this.#clock.nowMs());
  }

  #forget(): void {
    const oldestMs = this.#clock.nowMs() - WINDOW_MS;
    for (const [id, cameAtMs] of this.#cameAtMs) {
      if (cameAtMs > oldestMs && this.#cameAtMs.size < MOST_IDS) return;
      this.#cameAtMs.delete(id);
    }
  }
}
