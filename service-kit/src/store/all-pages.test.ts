import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import { allPages } from "./all-pages.ts";
import type { DocumentStore, ListPage } from "./document-store.ts";
import { openSqliteDocumentStore } from "./sqlite-document-store.ts";

const EVENTS = { orgId: "org-a", collection: "events" };
const idOf = (index: number) => String(index).padStart(4, "0");

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

async function filled(count: number): Promise<readonly string[]> {
  const ids = Array.from({ length: count }, (_, index) => idOf(index));
  await store.apply(ids.map((id) => ({ kind: "insert", key: { ...EVENTS, id }, body: { id } })));
  return ids;
}

async function walked(...options: [Parameters<typeof allPages>[2]?]): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const { body } of allPages<{ id: string }>(store, EVENTS, ...options)) {
    ids.push(body.id);
  }
  return ids;
}

describe("allPages", () => {
  it.each([0, 1, 199, 200, 201, 400, 401])(
    "gives all of %i documents in the order of their ids, either way",
    async (count) => {
      const ids = await filled(count);
      expect(await walked()).toEqual(ids);
      expect(await walked({ descending: true })).toEqual([...ids].reverse());
    },
  );

  it("begins behind an id, either way", async () => {
    const ids = await filled(450);
    expect(await walked({ after: idOf(9) })).toEqual(ids.slice(10));
    expect(await walked({ after: idOf(440), descending: true })).toEqual(
      ids.slice(0, 440).reverse(),
    );
  });

  it("reads no more than it is asked for, at most 200 at a time", async () => {
    await filled(450);
    const list = store.list.bind(store);
    const asked: (ListPage | undefined)[] = [];
    store.list = <T>(collection: typeof EVENTS, page?: ListPage) => {
      asked.push(page);
      return list<T>(collection, page);
    };
    let seen = 0;
    for await (const _ of allPages(store, EVENTS)) {
      seen += 1;
      if (seen === 201) break;
    }
    expect(asked.map((page) => [page?.after, page?.limit])).toEqual([
      [undefined, 200],
      [idOf(199), 200],
    ]);
  });

  it("goes on when what it has given is removed meanwhile", async () => {
    const ids = await filled(450);
    const seen: string[] = [];
    for await (const { id } of allPages(store, EVENTS)) {
      seen.push(id);
      await store.apply([{ kind: "delete", key: { ...EVENTS, id } }]);
    }
    expect(seen).toEqual(ids);
    expect(await walked()).toEqual([]);
  });
});
