/** Names one document. */
export interface DocumentKey {
  readonly orgId: string;
  /** Kind of document: "policies", "clusters". */
  readonly collection: string;
  readonly id: string;
}

/** A document as the store holds it. */
export interface StoredDocument<T = unknown> extends DocumentKey {
  /** 1 when inserted, then one more at each replacement: the optimistic lock. */
  readonly revision: number;
  readonly body: T;
  /** ISO 8601, for people. */
  readonly createdAt: string;
  /** ISO 8601, for people. */
  readonly updatedAt: string;
}

/** One change. `insert` needs the document absent, `replace` and `delete` need it present. */
export type Write =
  | { readonly kind: "insert"; readonly key: DocumentKey; readonly body: unknown }
  | {
      readonly kind: "replace";
      readonly key: DocumentKey;
      readonly body: unknown;
      /** Revision that must still be the newest one; absent = any. */
      readonly ifRevision?: number;
    }
  | { readonly kind: "delete"; readonly key: DocumentKey; readonly ifRevision?: number };

/** Result of {@link DocumentStore.apply}: all writes or none. */
export type ApplyOutcome =
  | { readonly kind: "applied" }
  | {
      readonly kind: "refused";
      /** Key of the write that did not hold. */
      readonly key: DocumentKey;
      readonly why: "exists" | "missing" | "revision";
    };

/** Result of {@link DocumentStore.renewStoreId}: the id and all writes, or nothing. */
export type RenewOutcome =
  | {
      readonly kind: "renewed";
      /** The new id. */
      readonly storeId: string;
    }
  | Extract<ApplyOutcome, { readonly kind: "refused" }>;

/**
 * Durable JSON documents by (org, collection, id). Bodies are plain JSON values; numbers come back as
 * doubles, so text whose numbers must stay as written is stored as a string. Every driver passes the
 * suite `documentStoreContract`. Methods reject only when the store itself fails, with UNAVAILABLE
 * and what is wrong with which file or document, or when a body is not JSON.
 */
export interface DocumentStore {
  /**
   * UUID minted when the store was created or {@link renewStoreId renewed}; another one means another
   * history. Rejects when the store does not answer, and for good once it is known to be damaged: it is
   * what readiness asks.
   */
  storeId(): Promise<string>;
  /** One document, undefined when absent. */
  get<T>(key: DocumentKey): Promise<StoredDocument<T> | undefined>;
  /** Documents of a collection in the order of their ids' UTF-8 bytes. */
  list<T>(
    collection: Omit<DocumentKey, "id">,
    page?: ListPage,
  ): Promise<readonly StoredDocument<T>[]>;
  /** Applies all writes in one transaction, durable when it resolves, or none. */
  apply(writes: readonly Write[]): Promise<ApplyOutcome>;
  /**
   * Mints a new store id and applies the writes in the same transaction, because the store was restored
   * from a copy whose history others have left behind. A refused write keeps the id.
   */
  renewStoreId(writes: readonly Write[]): Promise<RenewOutcome>;
  /** Raises a durable counter by one and gives the new value, 1 at first. */
  raise(counter: string): Promise<number>;
  /** Bytes that the store's documents take on disk, roughly. */
  sizeBytes(): Promise<number>;
  close(): Promise<void>;
}

/** A part of a list. */
export interface ListPage {
  /** Only documents behind this id, in the order of the list. */
  readonly after?: string;
  /** At most so many, a whole number from 0; all of them by default. */
  readonly limit?: number;
  /** From the last id to the first. */
  readonly descending?: boolean;
}
