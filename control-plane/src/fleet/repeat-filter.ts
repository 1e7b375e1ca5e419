import type { Clock } from "@berth/service-kit";

/** Most things that are remembered; the oldest are forgotten first. */
const MAX_REMEMBERED = 10_000;

/** Tells whether the same thing was told a short while ago. */
export class RepeatFilter {
  readonly #windowMs: number;
  readonly #clock: Clock;
  /** When each thing was last let through, in that order. */
  readonly #seen = new Map<string, number>();

  constructor(windowMs: number, clock: Clock) {
    this.#windowMs = windowMs;
    this.#clock = clock;
  }

  /** Whether the thing was let through within the window; when not, it is now. */
  isRepeat(thing: string): boolean {
    const nowMs = this.#clock.nowMs();
    const seenAtMs = this.#seen.get(thing);
    if (seenAtMs !== undefined && nowMs - seenAtMs < this.#windowMs) return true;
    this.#seen.delete(thing);
    this.#seen.set(thing, nowMs);
    for (const [oldest] of this.#seen) {
      if (this.#seen.size <= MAX_REMEMBERED) break;
      this.#seen.delete(oldest);
    }
    return false;
  }
}
