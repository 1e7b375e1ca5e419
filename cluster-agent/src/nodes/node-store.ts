import { BerthError, type DocumentStore } from "@berth/service-kit";
import type { NodeRecord } from "./node-view.ts";

const COLLECTION = "nodes";

/** The durable records of a cluster's nodes, by node id. */
export class NodeStore {
  readonly #store: DocumentStore;
  readonly #orgId: string;
  readonly #known = new Set<string>();

  constructor(store: DocumentStore, orgId: string) {
    this.#store = store;
    this.#orgId = orgId;
  }

  /** All records, in id order. */
  async load(): Promise<ReadonlyMap<string, NodeRecord>> {
    const documents = await this.#store.list<NodeRecord>({
      orgId: this.#orgId,
      collection: COLLECTION,
    });
    for (const { id } of documents) this.#known.add(id);
    return new Map(documents.map(({ id, body }) => [id, body]));
  }

  /** Writes a record, durable when it resolves. Call {@link load} before. */
  async save(id: string, record: NodeRecord): Promise<void> {
    const key = { orgId: this.#orgId, collection: COLLECTION, id };
    const kind = this.#known.has(id) ? "replace" : "insert";
    const outcome = await this.#store.apply([{ kind, key, body: record }]);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `the record of node ${id} was not written: ${outcome.why}`);
    }
    this.#known.add(id);
  }
}
