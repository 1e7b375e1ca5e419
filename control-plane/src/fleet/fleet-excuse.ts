/** Bounds of a {@link FleetExcuse}, ms. */
export interface ExcuseLimits {
  /** Longest time in which the whole fleet is excused in one go. */
  readonly suspendMs: number;
  /** Least time from the end of one until the next may begin. */
  readonly restMs: number;
}

/**
 * When silence says nothing about any agent: while more of them send snapshots than may at once. It ends after a
 * bounded time, and between two of them verdicts are given for a while, so that a few agents that come
 * again and again hide nobody's silence. Pure state: no I/O, no time.
 */
export class FleetExcuse {
  readonly #limits: ExcuseLimits;
  #beganAtMs: number | undefined;
  #endedAtMs = Number.NEGATIVE_INFINITY;

  constructor(limits: ExcuseLimits) {
    this.#limits = limits;
  }

  /** Takes up whether agents wait for their turn. */
  update(isCrowded: boolean, nowMs: number): void {
    const { suspendMs, restMs } = this.#limits;
    const began = this.#beganAtMs;
    if (began === undefined) {
      if (isCrowded && nowMs - this.#endedAtMs >= restMs) this.#beganAtMs = nowMs;
      return;
    }
    if (isCrowded && nowMs - began <= suspendMs) return;
    this.#beganAtMs = undefined;
    this.#endedAtMs = Math.min(nowMs, began + suspendMs);
  }

  /** From when on silence counts, on the clock of {@link update}; undefined while it does not. */
  get countsFromMs(): number | undefined {
    return this.#beganAtMs === undefined ? this.#endedAtMs : undefined;
  }
}
