import type { DocumentKey, DocumentStore, ListPage, StoredDocument } from "./document-store.ts";

/** Documents that are read at a time. */
const PAGE = 200;

/**
 * Walks a collection in the order of its ids, 200 documents at a time, so that a long one is never in memory as a
 * whole. Documents that are written or removed meanwhile may be seen or not; every other one is seen once.
 */
export async function* allPages<T>(
  store: DocumentStore,
  collection: Omit<DocumentKey, "id">,
  options: Pick<ListPage, "descending" | "after"> = {},
): AsyncGenerator<StoredDocument<T>> {
  let { after } = options;
  const { descending = false } = options;
  for (;;) {
    const position = after === undefined ? {} : { after };
    const page = await store.list<T>(collection, { limit: PAGE, descending, ...position });
    yield* page;
    after = page.at(-1)?.id;
    if (page.length < PAGE) return;
  }
}
