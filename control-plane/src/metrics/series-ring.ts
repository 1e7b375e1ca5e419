/** An array that keeps readings; 32 bits hold seven digits, 64 bits hold fifteen. */
export type ReadingArray = Float32Array | Float64Array;

const DIGITS = { narrow: 7, wide: 15 } as const;

/**
 * The newest readings of several series that are taken together, one for each slot of time. Slots are numbered
 * without gaps; where none was taken stands "unknown". Holds as many slots as the array has room for.
 */
export class SeriesRing {
  readonly #values: ReadingArray;
  readonly #series: number;
  readonly #slots: number;
  readonly #digits: number;
  #newest: number | undefined;

  /**
   * @param values room for all readings: `series` times the number of slots
   * @param series how many readings are taken together
   */
  constructor(values: ReadingArray, series: number) {
    this.#values = values.fill(Number.NaN);
    this.#series = series;
    this.#slots = Math.floor(values.length / series);
    this.#digits = values instanceof Float32Array ? DIGITS.narrow : DIGITS.wide;
  }

  /** The newest slot; undefined before the first. */
  get newest(): number | undefined {
    return this.#newest;
  }

  /**
   * Keeps the readings of a slot, null for unknown ones. A slot that is there already is replaced; one before
   * the newest is not taken.
   */
  record(slot: number, readings: readonly (number | null)[]): void {
    if (this.#newest !== undefined && slot < this.#newest) return;
    const begin = Math.max((this.#newest ?? slot) + 1, slot - this.#slots + 1);
    for (let missed = begin; missed < slot; missed += 1) this.#write(missed, []);
    this.#write(slot, readings);
    this.#newest = slot;
  }

  /**
   * The readings of one series up to a slot, the oldest first; null for unknown ones. Whole numbers as they are kept,
   * others with the digits that the array holds: 17.2, not 17.200000762939453.
   */
  read(series: number, to: number, count: number): (number | null)[] {
    return Array.from({ length: count }, (_, index) => this.#at(series, to - count + 1 + index));
  }

  #write(slot: number, readings: readonly (number | null)[]): void {
    const at = this.#placeOf(slot);
    for (let index = 0; index < this.#series; index += 1) {
      this.#values[at + index] = readings[index] ?? Number.NaN;
    }
  }

  #at(series: number, slot: number): number | null {
    const newest = this.#newest;
    if (newest === undefined || slot > newest || slot <= newest - this.#slots) return null;
    const value = this.#values[this.#placeOf(slot) + series];
    if (value === undefined || !Number.isFinite(value)) return null;
    return Number.isInteger(value) ? value : Number(value.toPrecision(this.#digits));
  }

  #placeOf(slot: number): number {
    // Slots before the first one have numbers below 0.
    return (((slot % this.#slots) + this.#slots) % this.#slots) * this.#series;
  }
}
