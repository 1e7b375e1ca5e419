import { BerthError } from "../errors.ts";
import type { DocumentStore } from "./document-store.ts";

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
    if (!this.#known.has(id)) return;
    const { store, orgId, collection } = this.#options;
    const outcome = await store.apply([{ kind: "delete", key: { orgId, collection, id } }]);
    if (outcome.kind === "refused") {
      const message = `the document ${id} in ${collection} was not removed: ${outcome.why}`;
      throw new BerthError("INTERNAL", message);
    }
    this.#known.delete(id);
  }
}
