import type { Clock } from "@berth/service-kit";

/** The machine's clock, which a test may set forward. */
export class LeapingClock implements Clock {
  #leapMs = 0;

  nowMs(): number {
    return performance.now() + this.#leapMs;
  }

  timestamp(): string {
    return new Date().toISOString();
  }

  leap(ms: number): void {
    this.#leapMs += ms;
  }
}
