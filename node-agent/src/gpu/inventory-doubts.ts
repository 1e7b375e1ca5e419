/** Shortest times between two inventories, in ms. */
export interface RelistTimes {
  /** When readings do not fit the one we have. */
  readonly relistMs: number;
  /** When the driver says that it has lost a GPU. */
  readonly relistLostMs: number;
}

/** Lines that are kept; a node has fewer GPUs. */
const MAX_HEARD = 64;

/**
 * When the inventory is asked for again: what may be a hiccup is given time, a GPU that the driver calls
 * lost is none any more, so its line counts at once, though only once. Pure state: times come from the
 * caller, in ms of one monotonic clock.
 */
export class InventoryDoubts {
  readonly #times: RelistTimes;
  readonly #heard = new Set<string>();
  #listedAtMs = 0;

  constructor(times: RelistTimes) {
    this.#times = times;
  }

  /** The driver was asked; `changed`: it told of other GPUs than before. */
  listed(nowMs: number, changed: boolean): void {
    this.#listedAtMs = nowMs;
    // The answer may put it in other words than the line: that is no reason to ask for ever.
    if (changed) this.#heard.clear();
  }

  /** Whether readings that do not fit the inventory are reason enough to ask again. */
  ofReadings(nowMs: number): boolean {
    return nowMs - this.#listedAtMs > this.#times.relistMs;
  }

  /** Whether this line about a lost GPU is; it then counts as heard. */
  ofLostGpu(line: string, nowMs: number): boolean {
    if (this.#heard.has(line)) return false;
    if (this.#heard.size >= MAX_HEARD) return this.ofReadings(nowMs);
    if (nowMs - this.#listedAtMs <= this.#times.relistLostMs) return false;
    this.#heard.add(line);
    return true;
  }
}
