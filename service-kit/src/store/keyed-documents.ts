import { BerthError } from "../errors.ts";
import type { DocumentStore, Write } from "./document-store.ts";

/** What {@link KeyedDocuments} is kept in. */
export interface KeyedDocumentsOptions {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** "nodes". */
  readonly collection: string;
}

/** Durable documents of one kind, by id. */
export class KeyedDocuments<T> {
  readonly #options: KeyedDocumentsOptions;
  readonly #known = new Set<string>();

  constructor(options: KeyedDocumentsOptions) {
    this.#options = options;
  }

  /** All documents, in id order. */
  async load(): Promise<ReadonlyMap<string, T>> {
    const { store, orgId, collection } = this.#options;
    const documents = await store.list<T>({ orgId, collection });
    for (const { id } of documents) this.#known.add(id);
    return new Map(documents.map(({ id, body }) => [id, body]));
  }

  /** Writes a document, durable when it resolves. Call {@link load} before. */
  async save(id: string, body: T): Promise<void> {
    const { store, orgId, collection } = this.#options;
    const key = { orgId, collection, id };
    const kind = this.#known.has(id) ? "replace" : "insert";
    const outcome = await store.apply([{ kind, key, body }]);
    if (outcome.kind === "refused") {
      const message = `the document ${id} in ${collection} was not written: ${outcome.why}`;
      throw new BerthError("INTERNAL", message);
    }
    this.#known.add(id);
  }

  /** Removes a document; nothing happens when there is none. Call {@link load} before. */
  async remove(id: string): Promise<void> {
    const { store, collection } = this.#options;
    await this.removeWith(id, async (removal) => {
      if (removal.length === 0) return;
      const outcome = await store.apply(removal);
      if (outcome.kind === "applied") return;
      const message = `the document ${id} in ${collection} was not removed: ${outcome.why}`;
      throw new BerthError("INTERNAL", message);
    });
  }

  /**
   * Removes a document in a transaction of the caller's: `apply` gets the writes that belong to it, none when there is no
   * such document, and rejects when they were not made. Call {@link load} before.
   */
  async removeWith(id: string, apply: (removal: readonly Write[]) => Promise<void>): Promise<void> {
    const { orgId, collection } = this.#options;
    const key = { orgId, collection, id };
    await apply(this.#known.has(id) ? [{ kind: "delete", key }] : []);
    this.#known.delete(id);
  }
}
