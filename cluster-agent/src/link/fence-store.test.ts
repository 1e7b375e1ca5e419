import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HandClock } from "../testing/fixtures.ts";
import { openFenceStore } from "./fence-store.ts";

const FENCE = { storeId: "s1", controllerTerm: 2n ** 63n, termId: "t5" };

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", new HandClock());
});
afterEach(() => store.close());

describe("FenceStore", () => {
  it("keeps store, term and term id over restarts", async () => {
    const fences = await openFenceStore(store, "o");
    expect(fences.known).toBeUndefined();
    await fences.keep(FENCE);
    expect((await openFenceStore(store, "o")).known).toEqual(FENCE);
  });

  it("writes a term id that is new, and nothing that is not", async () => {
    const fences = await openFenceStore(store, "o");
    await fences.keep({ ...FENCE, termId: "" });
    await fences.keep(FENCE);
    await fences.keep({ ...FENCE });
    expect((await openFenceStore(store, "o")).known).toEqual(FENCE);
    const key = { orgId: "o", collection: "link", id: "fence" };
    expect((await store.get(key))?.revision).toBe(2);
  });

  it("takes up what an older version has kept, which knew of no term ids", async () => {
    const key = { orgId: "o", collection: "link", id: "fence" };
    const body = { storeId: "s1", controllerTerm: "5" };
    await store.apply([{ kind: "insert", key, body }]);
    const fences = await openFenceStore(store, "o");
    expect(fences.known).toEqual({ storeId: "s1", controllerTerm: 5n, termId: "" });
    await fences.keep(FENCE);
    expect((await openFenceStore(store, "o")).known).toEqual(FENCE);
  });
});
