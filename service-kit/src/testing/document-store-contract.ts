import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DocumentKey, DocumentStore, ListPage, Write } from "../store/document-store.ts";

/** How the contract suite reaches a driver. */
export interface StoreHarness {
  /** Opens the store; all calls on one harness open the same, at first empty, one. */
  open(): DocumentStore | Promise<DocumentStore>;
  /** Removes what the harness made; every store is closed by then. */
  dispose(): void | Promise<void>;
}

const ORG = "org-a";

/** The behaviour that every {@link DocumentStore} driver has; call it in the driver's test file. */
export function documentStoreContract(name: string, makeHarness: () => StoreHarness): void {
  describe(`${name} as a document store`, () => {
    let harness: StoreHarness;
    let store: DocumentStore;
    const reopen = async (): Promise<void> => {
      await store.close();
      store = await harness.open();
    };
    beforeEach(async () => {
      harness = makeHarness();
      store = await harness.open();
    });
    afterEach(async () => {
      await store.close();
      await harness.dispose();
    });
    const current = () => store;
    documentTests(current, reopen);
    revisionTests(current);
    transactionTests(current);
    listTests(current);
    identityTests(current, reopen);
  });
}

function documentTests(store: () => DocumentStore, reopen: () => Promise<void>): void {
  it("gives back the body that was inserted, with revision 1 and both times", async () => {
    const body = { name: "x", list: [1, null, { deep: true }], text: "naïve ☃ \u0000 end", f: 1.5 };
    expect(await store().apply([insert("a", body)])).toEqual({ kind: "applied" });
    const found = await store().get(key("a"));
    expect(found).toMatchObject({ ...key("a"), revision: 1, body });
    expect(found?.createdAt).toMatch(/^\d{4}-\d\d-\d\dT/);
    expect(found?.updatedAt).toBe(found?.createdAt);
  });

  it("gives undefined for a document that is not there", async () => {
    expect(await store().get(key("nobody"))).toBeUndefined();
  });

  it("keeps ids apart that differ in case, accents or quotes", async () => {
    const ids = ["a", "A", "á", "a'; DROP TABLE documents; --", "a%", "a b", "a/b"];
    await store().apply(ids.map((id) => insert(id, { id })));
    for (const id of ids) expect((await store().get(key(id)))?.body).toEqual({ id });
  });

  it("keeps organizations and collections apart", async () => {
    const other = { ...key("a"), orgId: "org-b" };
    const elsewhere = { ...key("a"), collection: "other" };
    await store().apply([
      insert("a", 1),
      { kind: "insert", key: other, body: 2 },
      { kind: "insert", key: elsewhere, body: 3 },
    ]);
    await store().apply([{ kind: "delete", key: other }]);
    expect((await store().get(key("a")))?.body).toBe(1);
    expect(await store().get(other)).toBeUndefined();
    expect((await store().get(elsewhere))?.body).toBe(3);
    expect(await ids(store(), { orgId: "org-b" })).toEqual([]);
  });

  it("keeps what it acknowledged when it is opened again", async () => {
    await store().apply([insert("a", { n: 1 })]);
    await store().apply([{ kind: "replace", key: key("a"), body: { n: 2 } }]);
    const before = await store().get(key("a"));
    await reopen();
    expect(await store().get(key("a"))).toEqual(before);
  });

  it("rejects a body that is not JSON and keeps nothing of the transaction", async () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    for (const body of [cyclic, undefined, 1n]) {
      await expect(store().apply([insert("good", 1), insert("bad", body)])).rejects.toThrow();
      expect(await store().get(key("good"))).toBeUndefined();
    }
    expect(await store().apply([insert("good", 1)])).toEqual({ kind: "applied" });
  });

  it("rejects calls after it was closed, and closes twice without harm", async () => {
    await store().close();
    await store().close();
    await expect(store().get(key("a"))).rejects.toThrow();
    await expect(store().apply([insert("a", 1)])).rejects.toThrow();
  });
}

function revisionTests(store: () => DocumentStore): void {
  it("raises the revision by one at each replacement", async () => {
    await store().apply([insert("a", 1)]);
    for (const n of [2, 3]) {
      await store().apply([{ kind: "replace", key: key("a"), body: n }]);
      expect(await store().get(key("a"))).toMatchObject({ revision: n, body: n });
    }
  });

  it("starts again at revision 1 when a removed document is inserted again", async () => {
    await store().apply([insert("a", 1)]);
    await store().apply([{ kind: "replace", key: key("a"), body: 2 }]);
    await store().apply([{ kind: "delete", key: key("a"), ifRevision: 2 }]);
    await store().apply([insert("a", 3)]);
    expect(await store().get(key("a"))).toMatchObject({ revision: 1, body: 3 });
  });

  const refusals: readonly { name: string; write: Write; why: string }[] = [
    { name: "an insert over a document", write: insert("here", 9), why: "exists" },
    { name: "a replace of nothing", write: replace("gone"), why: "missing" },
    { name: "a delete of nothing", write: { kind: "delete", key: key("gone") }, why: "missing" },
    { name: "a replace of an older revision", write: replace("here", 1), why: "revision" },
    { name: "a replace of a later revision", write: replace("here", 3), why: "revision" },
    {
      name: "a delete of an older revision",
      write: { kind: "delete", key: key("here"), ifRevision: 1 },
      why: "revision",
    },
  ];
  it.each(refusals)("refuses $name and changes nothing", async ({ write, why }) => {
    await store().apply([insert("here", 1)]);
    await store().apply([replace("here", 1)]);
    const before = await store().get(key("here"));
    expect(await store().apply([write])).toEqual({ kind: "refused", key: write.key, why });
    expect(await store().get(key("here"))).toEqual(before);
    expect(await store().get(key("gone"))).toBeUndefined();
  });

  it("lets exactly one of many conditional writers win", async () => {
    await store().apply([insert("a", 0)]);
    const writers = Array.from({ length: 20 }, () => store().apply([replace("a", 1)]));
    const outcomes = await Promise.all(writers);
    expect(outcomes.filter(({ kind }) => kind === "applied")).toHaveLength(1);
    expect((await store().get(key("a")))?.revision).toBe(2);
  });
}

function transactionTests(store: () => DocumentStore): void {
  it("applies all writes or none, and names the first one that did not hold", async () => {
    await store().apply([insert("a", 1), insert("b", 1)]);
    const outcome = await store().apply([
      insert("c", 1),
      replace("a"),
      { kind: "delete", key: key("b") },
      insert("c", 2),
      replace("nobody"),
    ]);
    expect(outcome).toEqual({ kind: "refused", key: key("c"), why: "exists" });
    expect(await ids(store())).toEqual(["a", "b"]);
    expect((await store().get(key("a")))?.revision).toBe(1);
  });

  it("lets a later write of a transaction build on an earlier one", async () => {
    const outcome = await store().apply([insert("a", 1), replace("a", 1), replace("a", 2)]);
    expect(outcome).toEqual({ kind: "applied" });
    expect((await store().get(key("a")))?.revision).toBe(3);
  });

  it("applies an empty list of writes", async () => {
    expect(await store().apply([])).toEqual({ kind: "applied" });
  });
}

function listTests(store: () => DocumentStore): void {
  it("lists in the order of the ids' bytes, page after page", async () => {
    const all = ["B", "a", "a10", "a2", "b", "é", "☃", "😀"];
    await store().apply([...all].reverse().map((id) => insert(id, { id })));
    expect(await ids(store())).toEqual(all);
    expect(await ids(store(), { limit: 3 })).toEqual(["B", "a", "a10"]);
    expect(await ids(store(), { after: "a10", limit: 3 })).toEqual(["a2", "b", "é"]);
    expect(await ids(store(), { after: "a11" })).toEqual(["a2", "b", "é", "☃", "😀"]);
    expect(await ids(store(), { after: "😀" })).toEqual([]);
    expect(await ids(store(), { limit: 0 })).toEqual([]);
  });

  it("lists from the last to the first on demand", async () => {
    await store().apply(["a", "b", "c", "d"].map((id) => insert(id, { id })));
    expect(await ids(store(), { descending: true, limit: 3 })).toEqual(["d", "c", "b"]);
    expect(await ids(store(), { descending: true, after: "b" })).toEqual(["a"]);
  });

  it("tells how much it takes on disk, which falls when documents go", async () => {
    const names = Array.from({ length: 50 }, (_none, index) => `big-${index}`);
    const empty = await store().sizeBytes();
    await store().apply(names.map((id) => insert(id, "x".repeat(20_000))));
    const full = await store().sizeBytes();
    expect(full - empty).toBeGreaterThan(900_000);
    await store().apply(names.map((id) => ({ kind: "delete", key: key(id) })));
    expect(await store().sizeBytes()).toBeLessThan(full / 2);
  });

  it("lists a document with an empty id", async () => {
    await store().apply([insert("", 1), insert("a", 1)]);
    expect(await ids(store())).toEqual(["", "a"]);
    expect(await ids(store(), { after: "" })).toEqual(["a"]);
  });
}

function identityTests(store: () => DocumentStore, reopen: () => Promise<void>): void {
  it("keeps its store id for ever", async () => {
    const id = await store().storeId();
    expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    await reopen();
    expect(await store().storeId()).toBe(id);
  });

  it("renews its store id together with writes, and keeps counters and documents", async () => {
    const former = await store().storeId();
    await store().raise("term");
    const outcome = await store().renewStoreId([insert("predecessor", { former })]);
    expect(outcome.kind).toBe("renewed");
    const renewed = outcome.kind === "renewed" ? outcome.storeId : former;
    expect(renewed).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(renewed).not.toBe(former);
    await reopen();
    expect(await store().storeId()).toBe(renewed);
    expect((await store().get(key("predecessor")))?.body).toEqual({ former });
    expect(await store().raise("term")).toBe(2);
  });

  it("keeps its store id when a write beside the renewal does not hold", async () => {
    const before = await store().storeId();
    await store().apply([insert("a", 1)]);
    const outcome = await store().renewStoreId([insert("b", 1), insert("a", 2)]);
    expect(outcome).toEqual({ kind: "refused", key: key("a"), why: "exists" });
    expect(await store().storeId()).toBe(before);
    expect(await ids(store())).toEqual(["a"]);
  });

  it("raises each counter from 1, without gaps or repeats, over openings", async () => {
    expect(await store().raise("term")).toBe(1);
    expect(await Promise.all([store().raise("term"), store().raise("term")])).toEqual([2, 3]);
    expect(await store().raise("incarnation")).toBe(1);
    await reopen();
    expect(await store().raise("term")).toBe(4);
  });
}

async function ids(
  store: DocumentStore,
  options: { orgId?: string } & ListPage = {},
): Promise<readonly string[]> {
  const { orgId = ORG, ...page } = options;
  return (await store.list({ orgId, collection: "things" }, page)).map(({ id }) => id);
}

function key(id: string): DocumentKey {
  return { orgId: ORG, collection: "things", id };
}

function insert(id: string, body: unknown): Write {
  return { kind: "insert", key: key(id), body };
}

function replace(id: string, ifRevision?: number): Write {
  const write = { kind: "replace", key: key(id), body: "replaced" } as const;
  return ifRevision === undefined ? write : { ...write, ifRevision };
}
