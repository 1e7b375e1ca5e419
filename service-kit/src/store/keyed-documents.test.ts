import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../clock.ts";
import type { DocumentStore } from "./document-store.ts";
import { KeyedDocuments } from "./keyed-documents.ts";
import { openSqliteDocumentStore } from "./sqlite-document-store.ts";

const NODES = { orgId: "org-a", collection: "nodes" };

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

async function loaded(): Promise<KeyedDocuments<number>> {
  const documents = new KeyedDocuments<number>({ store, ...NODES });
  await documents.load();
  return documents;
}

const kept = async () => [...(await (await loaded()).load())];

describe("KeyedDocuments", () => {
  it("keeps the newest body of each id, over a restart", async () => {
    const documents = await loaded();
    await documents.save("b", 1);
    await documents.save("a", 2);
    await documents.save("b", 3);
    await (await loaded()).save("a", 4);
    expect(await kept()).toEqual([
      ["a", 4],
      ["b", 3],
    ]);
  });

  it("removes a document for good, also one of an earlier start, and takes its id anew", async () => {
    const documents = await loaded();
    await documents.save("a", 1);
    await documents.save("b", 2);
    await documents.remove("a");
    await (await loaded()).remove("b");
    expect(await kept()).toEqual([]);
    await documents.save("a", 3);
    expect(await kept()).toEqual([["a", 3]]);
  });

  it("removes a document in a transaction of others, and keeps it when that fails", async () => {
    const documents = await loaded();
    await documents.save("a", 1);
    const failing = documents.removeWith("a", () => Promise.reject(new Error("disk full")));
    await expect(failing).rejects.toThrow("disk full");
    await documents.save("a", 2);
    expect(await kept()).toEqual([["a", 2]]);
    const key = { ...NODES, id: "b" };
    const beside = { kind: "insert", key, body: 3 } as const;
    await documents.removeWith("a", async (removal) => {
      expect(await store.apply([beside, ...removal])).toEqual({ kind: "applied" });
    });
    expect(await kept()).toEqual([["b", 3]]);
    await documents.removeWith("a", async (removal) => expect(removal).toEqual([]));
  });

  it("does nothing when what is to be removed is not there, also a second time", async () => {
    const documents = await loaded();
    await documents.save("a", 1);
    await documents.remove("c");
    await documents.remove("a");
    await documents.remove("a");
    expect(await kept()).toEqual([]);
  });

  it("says what was not removed or written when another writer was there", async () => {
    const documents = await loaded();
    await documents.save("a", 1);
    await store.apply([{ kind: "delete", key: { ...NODES, id: "a" } }]);
    const failure = (what: string) => ({ reason: "INTERNAL", message: what });
    await expect(documents.remove("a")).rejects.toMatchObject(
      failure("the document a in nodes was not removed: missing"),
    );
    await expect(documents.save("a", 2)).rejects.toMatchObject(
      failure("the document a in nodes was not written: missing"),
    );
  });

  it("tries a removal again that the store failed at", async () => {
    const documents = await loaded();
    await documents.save("a", 1);
    const apply = store.apply.bind(store);
    store.apply = () => Promise.reject(new Error("disk full"));
    await expect(documents.remove("a")).rejects.toThrow("disk full");
    store.apply = apply;
    await documents.remove("a");
    expect(await kept()).toEqual([]);
  });
});
