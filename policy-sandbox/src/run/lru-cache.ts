/** What {@link LruCache} keeps at most. */
export interface LruCacheOptions<V> {
  readonly maxEntries: number;
  /** Of all entries together, in the unit of `weightOf`. */
  readonly maxWeight: number;
  readonly weightOf: (value: V) => number;
}

/** Values by name; the least recently used ones are forgotten when they are too many or too heavy. */
export class LruCache<V> {
  readonly #options: LruCacheOptions<V>;
  readonly #entries = new Map<string, { readonly value: V; readonly weight: number }>();
  #weight = 0;

  constructor(options: LruCacheOptions<V>) {
    this.#options = options;
  }

  get(name: string): V | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    return entry.value;
  }

  /** Takes a value in; one that alone is too heavy is not kept. */
  set(name: string, value: V): void {
    this.delete(name);
    const { maxEntries, maxWeight, weightOf } = this.#options;
    const weight = weightOf(value);
    if (weight > maxWeight) return;
    this.#entries.set(name, { value, weight });
    this.#weight += weight;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= maxEntries && this.#weight <= maxWeight) return;
      this.delete(oldest);
    }
  }

  delete(name: string): void {
    this.#weight -= this.#entries.get(name)?.weight ?? 0;
    this.#entries.delete(name);
  }
}
