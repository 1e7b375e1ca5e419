/** A document and its optimistic lock. */
export interface Kept<T> {
  readonly body: T;
  /** 1 at first, one more with each change. */
  readonly revision: number;
}

/** Which group a document belongs to; undefined: none. */
export type GroupOf<T> = (body: T) => string | undefined;

/** Documents by id, and the ids of each group beside them. */
export class GroupedDocuments<T> {
  readonly #groupOf: GroupOf<T>;
  readonly #byId: Map<string, Kept<T>>;
  readonly #groups = new Map<string, Set<string>>();

  constructor(groupOf: GroupOf<T>, documents: Iterable<readonly [string, Kept<T>]> = []) {
    this.#groupOf = groupOf;
    this.#byId = new Map(documents);
    for (const [id, { body }] of this.#byId) this.#join(id, body);
  }

  /** Number of documents. */
  get size(): number {
    return this.#byId.size;
  }

  /** One document; undefined when there is none. */
  get(id: string): Kept<T> | undefined {
    return this.#byId.get(id);
  }

  /** Puts a document in, or in place of the one of its id. */
  set(id: string, kept: Kept<T>): void {
    this.#leave(id);
    this.#byId.set(id, kept);
    this.#join(id, kept.body);
  }

  /** Takes a document out; nothing happens when there is none. */
  delete(id: string): void {
    this.#leave(id);
    this.#byId.delete(id);
  }

  /** All documents with their ids, in no order. */
  [Symbol.iterator](): Iterator<readonly [string, Kept<T>]> {
    return this.#byId.entries();
  }

  /** The documents of a group, in the order of their ids. */
  ofGroup(group: string): readonly Kept<T>[] {
    const ids = [...(this.#groups.get(group) ?? [])].sort();
    return ids.flatMap((id) => this.#byId.get(id) ?? []);
  }

  /** The documents of all groups; those of none are left out. */
  ofGroups(): readonly Kept<T>[] {
    return [...this.#groups.keys()].flatMap((group) => this.ofGroup(group));
  }

  #join(id: string, body: T): void {
    const group = this.#groupOf(body);
    if (group !== undefined) this.#groups.getOrInsertComputed(group, () => new Set()).add(id);
  }

  #leave(id: string): void {
    const before = this.#byId.get(id);
    if (before === undefined) return;
    const group = this.#groupOf(before.body);
    if (group === undefined) return;
    const ids = this.#groups.get(group);
    ids?.delete(id);
    if (ids?.size === 0) this.#groups.delete(group);
  }
}
