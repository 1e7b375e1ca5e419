import type { DocumentStore } from "../store/document-store.ts";

/** A store whose writes go through another function, which may fail them or end the process. */
export function withApply(store: DocumentStore, apply: DocumentStore["apply"]): DocumentStore {
  return {
    apply,
    storeId: () => store.storeId(),
    get: (key) => store.get(key),
    list: (collection, page) => store.list(collection, page),
    renewStoreId: (writes) => store.renewStoreId(writes),
    raise: (counter) => store.raise(counter),
    sizeBytes: () => store.sizeBytes(),
    close: () => store.close(),
  };
}
