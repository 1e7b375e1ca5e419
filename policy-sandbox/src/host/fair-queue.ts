/** Items that wait, by tenant; tenants take turns, so a long queue of one does not hold up the others. */
export class FairQueue<T> {
  readonly #byTenant = new Map<string, Line<T>>();
  readonly #weightOf: (item: T) => number;
  #size = 0;
  #weight = 0;

  /** `weightOf` gives an item the same weight each time. */
  constructor(weightOf: (item: T) => number = () => 1) {
    this.#weightOf = weightOf;
  }

  get size(): number {
    return this.#size;
  }

  /** What all items weigh together. */
  get weight(): number {
    return this.#weight;
  }

  /** Tenants that have something waiting, the one whose turn is longest ago first. */
  tenants(): string[] {
    return [...this.#byTenant.keys()];
  }

  /** Adds an item that does not wait yet. */
  add(tenant: string, item: T): void {
    const line = this.#lineOf(tenant);
    line.add(item);
    this.#count(line, item, 1);
  }

  /** Adds an item that does not wait yet ahead of the tenant's others. */
  addFirst(tenant: string, item: T): void {
    const line = this.#lineOf(tenant);
    line.addFirst(item);
    this.#count(line, item, 1);
  }

  /** Everything that waits, as it is now. */
  items(): { tenant: string; item: T }[] {
    return [...this.#byTenant].flatMap(([tenant, line]) =>
      [...line].map((item) => ({ tenant, item })),
    );
  }

  /** The tenant's oldest item, which goes on waiting. */
  first(tenant: string): T | undefined {
    return this.#byTenant.get(tenant)?.oldest();
  }

  /** Takes the tenant's oldest item and moves the tenant to the end of the line. */
  take(tenant: string): T | undefined {
    const line = this.#byTenant.get(tenant);
    const first = line?.oldest();
    if (line === undefined || first === undefined) return undefined;
    this.remove(tenant, first);
    if (line.size > 0) {
      this.#byTenant.delete(tenant);
      this.#byTenant.set(tenant, line);
    }
    return first;
  }

  /**
   * Takes the newest item of the tenant that has most items waiting; of tenants that have equally many it is the
   * preferred one's. Looks at each tenant, not at each item.
   */
  takeNewestOfLongest(preferred: string): T | undefined {
    return this.#takeNewestOfLargest(preferred, ({ size }) => size);
  }

  /** {@link takeNewestOfLongest} of the tenant whose items weigh most. */
  takeNewestOfHeaviest(preferred: string): T | undefined {
    return this.#takeNewestOfLargest(preferred, ({ weight }) => weight);
  }

  /** False when the item does not wait any more. */
  remove(tenant: string, item: T): boolean {
    const line = this.#byTenant.get(tenant);
    if (line === undefined || !line.remove(item)) return false;
    this.#count(line, item, -1);
    if (line.size === 0) this.#byTenant.delete(tenant);
    return true;
  }

  #takeNewestOfLargest(preferred: string, measure: (line: Line<T>) => number): T | undefined {
    let largest = preferred;
    const own = this.#byTenant.get(preferred);
    let most = own === undefined ? 0 : measure(own);
    for (const [tenant, line] of this.#byTenant) {
      const size = measure(line);
      if (size <= most) continue;
      largest = tenant;
      most = size;
    }
    const newest = this.#byTenant.get(largest)?.newest();
    if (newest !== undefined) this.remove(largest, newest);
    return newest;
  }

  #lineOf(tenant: string): Line<T> {
    const line = this.#byTenant.get(tenant) ?? new Line<T>();
    this.#byTenant.set(tenant, line);
    return line;
  }

  #count(line: Line<T>, item: T, sign: 1 | -1): void {
    const weight = sign * this.#weightOf(item);
    this.#size += sign;
    this.#weight += weight;
    line.weight += weight;
  }
}

interface Place<T> {
  readonly item: T;
  older: Place<T> | null;
  newer: Place<T> | null;
}

/** Items in the order of their arrival, of which any can go at any time. */
class Line<T> {
  readonly #places = new Map<T, Place<T>>();
  /** A map can be read from its beginning only: this is its end. */
  #newest: Place<T> | null = null;
  /** What its items weigh together; kept by the queue. */
  weight = 0;

  get size(): number {
    return this.#places.size;
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#places.keys();
  }

  add(item: T): void {
    const place: Place<T> = { item, older: this.#newest, newer: null };
    if (this.#newest !== null) this.#newest.newer = place;
    this.#newest = place;
    this.#places.set(item, place);
  }

  /** Costs as much as the line is long. */
  addFirst(item: T): void {
    const all = [item, ...this.#places.keys()];
    this.#places.clear();
    this.#newest = null;
    for (const one of all) this.add(one);
  }

  remove(item: T): boolean {
    const place = this.#places.get(item);
    if (place === undefined) return false;
    const { older, newer } = place;
    if (older !== null) older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
    return this.#places.delete(item);
  }

  oldest(): T | undefined {
    return this.#places.keys().next().value;
  }

  newest(): T | undefined {
    return this.#newest?.item;
  }
}
