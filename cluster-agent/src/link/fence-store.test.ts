import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyStore } from "../testing/faulty-store.ts";
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

describe("the names of one term", () => {
  const named = (termId: string) => ({ ...FENCE, termId });
  const stored = async () => (await openFenceStore(store, "o")).known?.termId;
  const key = { orgId: "o", collection: "link", id: "fence" };

  it("are durable, the newest one, with one write for many that come at once", async () => {
    const fences = await openFenceStore(store, "o");
    await fences.keep(FENCE);
    const names = Array.from({ length: 100 }, (_none, n) => `name-${n}`);
    await Promise.all(names.map((name) => fences.renew(named(name))));
    expect(fences.known?.termId).toBe("name-99");
    expect(await stored()).toBe("name-99");
    // One that was under way when the others came, and one for all of them.
    expect((await store.get(key))?.revision).toBeLessThanOrEqual(3);
  });

  it("are written once only when they are told again", async () => {
    const fences = await openFenceStore(store, "o");
    await fences.keep(FENCE);
    for (let n = 0; n < 3; n += 1) await fences.renew(named("name-1"));
    expect((await store.get(key))?.revision).toBe(2);
  });

  it("never take the place of a newer term that is kept meanwhile", async () => {
    const fences = await openFenceStore(store, "o");
    await fences.keep(FENCE);
    const newer = { storeId: "s1", controllerTerm: 2n ** 63n + 1n, termId: "t6" };
    const kept = fences.keep(newer);
    await Promise.all([kept, fences.renew(named("late"))]);
    expect(fences.known).toEqual(newer);
    expect((await openFenceStore(store, "o")).known).toEqual(newer);
  });

  it("count though the disk is full, and are written with the next one", async () => {
    const faulty = new FaultyStore(store);
    const fences = await openFenceStore(faulty, "o");
    await fences.keep(FENCE);
    faulty.isFull = true;
    await expect(fences.renew(named("name-1"))).rejects.toThrow("full");
    expect(fences.known?.termId).toBe("name-1");
    expect(await stored()).toBe("t5");
    faulty.isFull = false;
    await fences.renew(named("name-2"));
    expect(await stored()).toBe("name-2");
  });
});
