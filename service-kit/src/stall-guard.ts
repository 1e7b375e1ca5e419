import type { Clock } from "./clock.ts";

/** Tells whether the process was kept from its work since it was asked last. */
export class StallGuard {
  readonly #clock: Clock;
  readonly #limitMs: number;
  #askedAtMs: number;

  /** `limitMs`: a longer time between two questions is a stall. */
  constructor(clock: Clock, limitMs: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#askedAtMs = clock.nowMs();
  }

  /** Asked at a steady pace, more often than the limit. */
  hasStalled(): boolean {
    const nowMs = this.#clock.nowMs();
    const passedMs = nowMs - this.#askedAtMs;
    this.#askedAtMs = nowMs;
    return passedMs > this.#limitMs;
  }
}
