import { backoffMs } from "@berth/service-kit/base";
import { STALE_INTERVALS } from "./gpu-readings.ts";
import type { GpuTimings } from "./gpu-timings.ts";

/** How a sampling child came to its end. */
export interface ChildEnd {
  /** How long it ran, in ms. */
  readonly ranMs: number;
  /** Whether it was ended to put another one in its place, and not because something was wrong with it. */
  readonly isReplaced: boolean;
}

/** How soon a sampling child is followed by the next one, and how long one may be silent. */
export class ChildPace {
  readonly #timings: GpuTimings;
  #failures = 0;

  constructor(timings: GpuTimings) {
    this.#timings = timings;
  }

  /**
   * Delay before the next child, in ms: it grows with every child that ends soon after its start, whatever
   * it printed till then.
   */
  delayAfter({ ranMs, isReplaced }: ChildEnd): number {
    const { steadyMs, restartFirstMs: firstMs, restartCapMs: capMs } = this.#timings;
    if (isReplaced || ranMs >= steadyMs) this.#failures = 0;
    this.#failures += 1;
    return backoffMs(this.#failures, { firstMs, capMs });
  }

  /** Silence after which a child is ended, in ms: values are stale by then, or it never printed any. */
  quietLimitMs(hasPrinted: boolean, intervalMs: number): number {
    const { quietLimitMs, firstLineMs } = this.#timings;
    return hasPrinted ? Math.max(quietLimitMs, STALE_INTERVALS * intervalMs) : firstLineMs;
  }
}
