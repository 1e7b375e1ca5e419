import { allPages, type DocumentStore } from "@berth/service-kit";
import { GroupedDocuments, type GroupOf, type Kept } from "./grouped-documents.ts";
import type { Plan } from "./org-transactions.ts";

/** Where documents are kept. */
export interface KeptDocumentsDeps<T> {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly collection: string;
  /** What {@link KeptDocuments.ofGroup} finds them by; in no group by default. */
  readonly groupOf?: GroupOf<T>;
}

/**
 * The documents of one collection of an org, in memory as the store has them, and beside that with the writes that are on
 * their way: what is planned looks at these, what is read at the others.
 */
export class KeptDocuments<T> {
  readonly #deps: KeptDocumentsDeps<T>;
  readonly #groupOf: GroupOf<T>;
  /** As the store has them. */
  #durable: GroupedDocuments<T>;
  /** With the writes that are on their way. */
  #working: GroupedDocuments<T>;
  #sorted: readonly (readonly [string, Kept<T>])[] | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(deps: KeptDocumentsDeps<T>) {
    this.#deps = deps;
    this.#groupOf = deps.groupOf ?? (() => undefined);
    this.#durable = new GroupedDocuments(this.#groupOf);
    this.#working = new GroupedDocuments(this.#groupOf);
  }

  /** Number of documents, with what is being written. */
  get size(): number {
    return this.#working.size;
  }

  /** Takes what the store has. When it cannot be read, what was durable is what is left; rejects then. */
  async reload(): Promise<void> {
    const { store, orgId, collection } = this.#deps;
    this.#working = new GroupedDocuments(this.#groupOf, this.#durable);
    const found = new GroupedDocuments(this.#groupOf);
    for await (const { id, revision, body } of allPages<T>(store, { orgId, collection })) {
      found.set(id, { body, revision });
    }
    this.#durable = found;
    this.#working = new GroupedDocuments(this.#groupOf, found);
    this.#changed();
  }

  /** As the store has it; undefined when there is none. */
  get(id: string): Kept<T> | undefined {
    return this.#durable.get(id);
  }

  /** All as the store has them, in the order of their ids; the same list until one changes. */
  all(): readonly (readonly [string, Kept<T>])[] {
    this.#sorted ??= [...this.#durable].sort(([one], [other]) => (one < other ? -1 : 1));
    return this.#sorted;
  }

  /** Those of a group as the store has them, in the order of their ids. */
  ofGroup(group: string): readonly Kept<T>[] {
    return this.#durable.ofGroup(group);
  }

  /** As it will be when everything is written. */
  planned(id: string): Kept<T> | undefined {
    return this.#working.get(id);
  }

  /** All as they will be when everything is written. */
  allPlanned(): Iterable<readonly [string, Kept<T>]> {
    return this.#working;
  }

  /** Those of a group, or of all groups, as they will be when everything is written. */
  plannedOfGroup(group?: string): readonly Kept<T>[] {
    return group === undefined ? this.#working.ofGroups() : this.#working.ofGroup(group);
  }

  /** Writes a document, new or in place of the one that is planned. */
  put(plan: Plan, id: string, body: T): Kept<T> {
    const before = this.#working.get(id);
    const kept = { body, revision: (before?.revision ?? 0) + 1 };
    this.#working.set(id, kept);
    const key = this.#key(id);
    plan.add({
      write:
        before === undefined
          ? { kind: "insert", key, body }
          : { kind: "replace", key, body, ifRevision: before.revision },
      commit: () => {
        this.#durable.set(id, kept);
        this.#changed();
      },
      undo: () => this.#put(id, before),
    });
    return kept;
  }

  /** Takes a document out; nothing happens when none is planned. */
  remove(plan: Plan, id: string): void {
    const before = this.#working.get(id);
    if (before === undefined) return;
    this.#working.delete(id);
    plan.add({
      write: { kind: "delete", key: this.#key(id), ifRevision: before.revision },
      commit: () => {
        this.#durable.delete(id);
        this.#changed();
      },
      undo: () => this.#put(id, before),
    });
  }

  /** Calls back at each durable change; gives the function that ends that. The listener must not throw. */
  onChange(listener: () => void): () => void {
    const own = () => listener();
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  #put(id: string, kept: Kept<T> | undefined): void {
    if (kept === undefined) this.#working.delete(id);
    else this.#working.set(id, kept);
  }

  #changed(): void {
    this.#sorted = undefined;
    for (const listener of this.#listeners) listener();
  }

  #key(id: string) {
    const { orgId, collection } = this.#deps;
    return { orgId, collection, id };
  }
}
