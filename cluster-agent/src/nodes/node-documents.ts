import { BerthError, type DocumentStore } from "@berth/service-kit";

/** What {@link NodeDocuments} is kept in. */
export interface NodeDocumentsOptions {
  readonly store: DocumentStore;
  readonly orgId: string;
  /** "nodes". */
  readonly collection: string;
}

/** Durable documents of one kind, by node id. */
export class NodeDocuments<T> {
  readonly #options: NodeDocumentsOptions;
  readonly #known = new Set<string>();

  constructor(options: NodeDocumentsOptions) {
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
      const message = `the document of node ${id} in ${collection} was not written: ${outcome.why}`;
      throw new BerthError("INTERNAL", message);
    }
    this.#known.add(id);
  }
}
