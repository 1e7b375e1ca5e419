import { allPages, BerthError, type DocumentStore, type Logger } from "@berth/service-kit";
import { isOver, type OperationRecord } from "./operation.ts";

const COLLECTION = "operations";
/** Operations that are over and remembered; the oldest are forgotten first. */
const MAX_REMEMBERED = 1_000;
/** Time for which an operation that is over is remembered, ms: 7 days. */
const REMEMBERED_FOR_MS = 7 * 24 * 60 * 60 * 1_000;

/** What {@link OperationBook} is kept in. */
export interface OperationBookDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly logger: Logger;
}

/** Opens the operations that the store knows. */
export async function openOperationBook(deps: OperationBookDeps): Promise<OperationBook> {
  const book = new OperationBook(deps);
  await book.load();
  return book;
}

/** The durable records of operations; read from memory, a write is durable when it resolves. */
export class OperationBook {
  readonly #deps: OperationBookDeps;
  /** Oldest first. */
  readonly #records = new Map<string, OperationRecord>();
  readonly #byKey = new Map<string, string>();
  readonly #listeners = new Set<(id: string) => void>();

  constructor(deps: OperationBookDeps) {
    this.#deps = deps;
  }

  /** Reads what is there; called once. */
  async load(): Promise<void> {
    const { store, orgId } = this.#deps;
    const found: OperationRecord[] = [];
    for await (const { body } of allPages<OperationRecord>(store, {
      orgId,
      collection: COLLECTION,
    })) {
      found.push(body);
    }
    found.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
    for (const record of found) this.#keep(record);
  }

  /** One operation, undefined when there is none. */
  get(id: string): OperationRecord | undefined {
    return this.#records.get(id);
  }

  /** The operation that a client named so; undefined when there is none. */
  withKey(idempotencyKey: string): OperationRecord | undefined {
    const id = this.#byKey.get(idempotencyKey);
    return id === undefined ? undefined : this.get(id);
  }

  /** All that are remembered, the newest first. */
  list(): readonly OperationRecord[] {
    return [...this.#records.values()].reverse();
  }

  /** Calls back with the id of each operation that has changed or is forgotten; gives the function that ends that. */
  onChange(listener: (id: string) => void): () => void {
    const own = (id: string) => listener(id);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Writes a new operation down. */
  async insert(record: OperationRecord): Promise<void> {
    await this.#write(record, "insert");
    this.#keep(record);
    this.#tell(record.id);
  }

  /** Writes down how far an operation has come. */
  async replace(record: OperationRecord): Promise<void> {
    await this.#write(record, "replace");
    this.#records.set(record.id, record);
    this.#tell(record.id);
  }

  /** Shows how far an operation has come; durable with the next write. */
  show(record: OperationRecord): void {
    if (!this.#records.has(record.id)) return;
    this.#records.set(record.id, record);
    this.#tell(record.id);
  }

  /** Forgets operations that have been over for long, or that are too many; a failure is logged and made good later. */
  async prune(nowMs: number): Promise<void> {
    const over = [...this.#records.values()].filter(isOver);
    const tooMany = over.length - MAX_REMEMBERED;
    const gone = over.filter(
      ({ updatedAt }, place) =>
        place < tooMany || nowMs - Date.parse(updatedAt) > REMEMBERED_FOR_MS,
    );
    for (const record of gone) {
      try {
        const outcome = await this.#deps.store.apply([
          { kind: "delete", key: this.#key(record.id) },
        ]);
        if (outcome.kind === "refused" && outcome.why !== "missing") continue;
        this.#records.delete(record.id);
        if (record.idempotencyKey !== undefined) this.#byKey.delete(record.idempotencyKey);
        this.#tell(record.id);
      } catch (err) {
        this.#deps.logger.warn("an old operation was not forgotten", { id: record.id, err });
        return;
      }
    }
  }

  #tell(id: string): void {
    for (const listener of [...this.#listeners]) listener(id);
  }

  #keep(record: OperationRecord): void {
    this.#records.set(record.id, record);
    if (record.idempotencyKey !== undefined) this.#byKey.set(record.idempotencyKey, record.id);
  }

  async #write(record: OperationRecord, kind: "insert" | "replace"): Promise<void> {
    const key = this.#key(record.id);
    const outcome = await this.#deps.store.apply([{ kind, key, body: record }]);
    if (outcome.kind === "applied") return;
    throw new BerthError("INTERNAL", `operation ${record.id} was not written: ${outcome.why}`);
  }

  #key(id: string) {
    return { orgId: this.#deps.orgId, collection: COLLECTION, id };
  }
}
