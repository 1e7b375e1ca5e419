import { type ReadingArray, SeriesRing } from "./series-ring.ts";

/** What a {@link RingShelf} holds. */
export interface ShelfOptions {
  /** Names of the series of each owner. */
  readonly names: readonly string[];
  /** Points that are kept of each series. */
  readonly points: number;
  /** Most series of all owners together. */
  readonly limit: number;
  /** Makes room for so many readings. */
  readonly room: (size: number) => ReadingArray;
}

/** Rings of readings by their owners, up to a number. Pure state: no I/O, no time. */
export class RingShelf {
  readonly #options: ShelfOptions;
  readonly #rings = new Map<string, SeriesRing>();
  /** The slot in which there was no room for somebody; undefined when there always was. */
  #fullAt: number | undefined;
  #newest = 0;

  constructor(options: ShelfOptions) {
    this.#options = options;
  }

  /** Most series. */
  get limit(): number {
    return this.#options.limit;
  }

  /** Series that are kept. */
  get series(): number {
    return this.#rings.size * this.#options.names.length;
  }

  /** Whether there was no room for somebody in the newest slot. */
  get isFull(): boolean {
    return this.#fullAt === this.#newest;
  }

  /**
   * Keeps the readings of an owner, which are asked for only when there is room. A new owner takes the place
   * of those who are gone when there is none else.
   */
  record(owner: string, slot: number, readings: () => readonly (number | null)[]): void {
    this.#newest = slot;
    const ring = this.#rings.get(owner) ?? this.#place(owner, slot);
    ring?.record(slot, readings());
  }

  /** Series by their names up to a slot, the oldest point first; undefined when nothing was kept. */
  read(
    owner: string,
    to: number,
    points: number,
  ): Readonly<Record<string, readonly (number | null)[]>> | undefined {
    const ring = this.#rings.get(owner);
    if (ring === undefined) return undefined;
    return this.#bySeries((series) => ring.read(series, to, points));
  }

  /** Series of which nothing is known. */
  unknown(points: number): Readonly<Record<string, readonly null[]>> {
    return this.#bySeries(() => Array.from({ length: points }, () => null));
  }

  /** Forgets owners whose newest reading is from before a slot. */
  forgetBefore(slot: number): void {
    for (const [owner, { newest = slot }] of this.#rings) {
      if (newest < slot) this.#rings.delete(owner);
    }
  }

  /** A ring for a new owner; undefined when there is no room. */
  #place(owner: string, slot: number): SeriesRing | undefined {
    const { names, points, limit, room } = this.#options;
    const hasRoom = () => this.series + names.length <= limit;
    // Looked for once a slot: those who are there now will be there for the next owner too.
    if (!hasRoom() && this.#fullAt !== slot) this.forgetBefore(slot - 1);
    if (!hasRoom()) {
      this.#fullAt = slot;
      return undefined;
    }
    const ring = new SeriesRing(room(names.length * points), names.length);
    this.#rings.set(owner, ring);
    return ring;
  }

  #bySeries<V>(values: (series: number) => V): Readonly<Record<string, V>> {
    return Object.fromEntries(this.#options.names.map((name, series) => [name, values(series)]));
  }
}
