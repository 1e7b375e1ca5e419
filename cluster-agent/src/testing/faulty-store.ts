import {
  type ApplyOutcome,
  BerthError,
  type DocumentKey,
  type DocumentStore,
  type ListPage,
  type StoredDocument,
  type Write,
} from "@berth/service-kit";

/** What a store says whose disk is full. */
export const DISK_FULL = "the database cannot be written: database or disk is full";

/** A store that fails while a test wants it to; everything else goes to the store behind it. */
export class FaultyStore implements DocumentStore {
  /** Writes are refused as on a full disk. */
  isFull = false;
  /** Reads fail. */
  isUnreadable = false;
  /** Writes that were refused so far. */
  refusals = 0;
  readonly #behind: DocumentStore;

  constructor(behind: DocumentStore) {
    this.#behind = behind;
  }

  storeId(): Promise<string> {
    return this.#behind.storeId();
  }

  async get<T>(key: DocumentKey): Promise<StoredDocument<T> | undefined> {
    if (this.isUnreadable) throw new Error("disk I/O error");
    return this.#behind.get<T>(key);
  }

  list<T>(
    collection: Omit<DocumentKey, "id">,
    page?: ListPage,
  ): Promise<readonly StoredDocument<T>[]> {
    return this.#behind.list<T>(collection, page);
  }

  async apply(writes: readonly Write[]): Promise<ApplyOutcome> {
    this.#write();
    return this.#behind.apply(writes);
  }

  async renewStoreId(writes: readonly Write[]): ReturnType<DocumentStore["renewStoreId"]> {
    this.#write();
    return this.#behind.renewStoreId(writes);
  }

  async raise(counter: string): Promise<number> {
    this.#write();
    return this.#behind.raise(counter);
  }

  sizeBytes(): Promise<number> {
    return this.#behind.sizeBytes();
  }

  close(): Promise<void> {
    return this.#behind.close();
  }

  #write(): void {
    if (!this.isFull) return;
    this.refusals += 1;
    throw new BerthError("UNAVAILABLE", DISK_FULL);
  }
}
