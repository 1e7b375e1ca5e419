import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openOrgBooks } from "../org-books.ts";
import type { QuotaBook } from "./quota-book.ts";

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

async function open(over: DocumentStore = store): Promise<QuotaBook> {
  const { quotas: book } = await openOrgBooks({
    ...{ store: over, orgId: "o", clock: systemClock, logger: silentLogger },
  });
  return book;
}

const settled = (writes: readonly Promise<unknown>[]) => Promise.allSettled(writes);
const reasons = (outcomes: readonly PromiseSettledResult<unknown>[]) =>
  outcomes.map((one) => (one.status === "rejected" ? one.reason.reason : "written"));

describe("the quotas of an org", () => {
  it("are there after a restart, each as it was answered last", async () => {
    const book = await open();
    const made = await book.create({ quota_id: "q", replica_count: "3" });
    expect(made).toMatchObject({ revision: 1, quota: { quotaId: "q", replicas: 3 } });
    await book.create({ quota_id: "child", parent_id: "q" });
    const changed = await book.change("q", { replica_count: 5 });
    expect(changed.revision).toBe(2);
    await book.remove("child");
    const again = await open();
    expect(again.all()).toEqual([changed]);
    expect(() => again.get("child")).toThrow('no quota "child"');
  });

  it("have one id each, also when several ask for it at a time", async () => {
    const book = await open();
    const writes = Array.from({ length: 5 }, (_, n) =>
      book.create({ quota_id: "q", replica_count: n }),
    );
    const told = reasons(await settled(writes));
    expect(told).toEqual(["written", ...Array(4).fill("ALREADY_EXISTS")]);
    expect(book.get("q").quota.replicas).toBe(0);
  });

  it("share no block, also when several ask for it at a time and one of them fails", async () => {
    const book = await open();
    const profile = (block_id: string, cluster_id?: string) => ({
      allocation_info: JSON.stringify({ block_id, cluster_id }),
    });
    const two = await settled([
      book.create({ quota_id: "lost", parent_id: "nobody", ...profile("b") }),
      book.create({ quota_id: "q", ...profile("b") }),
      book.create({ quota_id: "late", ...profile("b") }),
    ]);
    expect(reasons(two)).toEqual(["NOT_FOUND", "written", "CONFLICT"]);
    await expect(book.create({ quota_id: "one", ...profile("b", "c1") })).rejects.toThrow(
      'allocation_info.block_id: the instances of block "b" are the replicas of quota "q" already',
    );
    await book.change("q", profile("b", "c1"));
    await book.create({ quota_id: "other", ...profile("b", "c2") });
    await expect(book.change("other", profile("b", "c1"))).rejects.toThrow('of quota "q" already');
    await expect(book.change("other", profile("b"))).rejects.toThrow('of quota "q" already');
    await book.change("other", { ...profile("b", "c2"), replica_count: 2 });
    await book.remove("q");
    const again = await open();
    await again.change("other", profile("b"));
    await expect(again.create(profile("b"))).rejects.toThrow('of quota "other" already');
  });

  it("stay as they are under a change that changes nothing, or is not of the newest revision", async () => {
    const book = await open();
    const made = await book.create({ quota_id: "q", replica_count: 3 });
    expect(await book.change("q", { replica_count: "3", quota_id: "q" })).toEqual(made);
    await book.change("q", { replica_count: 4 }, 1);
    await expect(book.change("q", { replica_count: 9 }, 1)).rejects.toMatchObject({
      reason: "STALE_REVISION",
      message: 'If-Match: quota "q" has revision 2, expected 1',
    });
    await expect(book.remove("q", 1)).rejects.toMatchObject({ reason: "STALE_REVISION" });
    expect(book.get("q")).toMatchObject({ revision: 2, quota: { replicas: 4 } });
    await expect(book.change("none", {})).rejects.toMatchObject({ reason: "NOT_FOUND" });
    expect(book.all()).toHaveLength(1);
  });

  it("never give more than there is, whatever is written at a time", async () => {
    const book = await open();
    await book.create({ quota_id: "org", nominal: { H100: 8 } });
    const writes = Array.from({ length: 20 }, (_, n) =>
      book.create({ quota_id: `team-${n}`, parent_id: "org", nominal: { H100: 3 } }),
    );
    const told = reasons(await settled(writes));
    expect(told.filter((one) => one === "written")).toHaveLength(2);
    expect(new Set(told)).toEqual(new Set(["written", "PRECONDITION_FAILED"]));
    const shrunk = await settled([
      book.change("org", { nominal: { H100: 6 } }),
      book.change("team-0", { nominal: { H100: 4 } }),
      book.create({ quota_id: "late", parent_id: "org", nominal: { H100: 1 } }),
    ]);
    expect(reasons(shrunk)).toEqual(["written", "PRECONDITION_FAILED", "PRECONDITION_FAILED"]);
  });

  it("are what the store has after it failed, and can be written again", async () => {
    let failures = 0;
    const failing = withApply(store, async (batch) => {
      if (failures === 0) return store.apply(batch);
      failures -= 1;
      throw new Error("the disk is full");
    });
    const book = await open(failing);
    await book.create({ quota_id: "org", nominal: { H100: 4 } });
    failures = 1;
    const told = await settled([
      book.create({ quota_id: "a", parent_id: "org", nominal: { H100: 4 } }),
      book.create({ quota_id: "b", parent_id: "org" }),
      book.change("org", { replica_count: 1 }),
    ]);
    // What was planned on top of a write that failed fails with it: it may rest on it.
    expect(told.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(book.all().map(({ quota }) => quota.quotaId)).toEqual(["org"]);
    await book.create({ quota_id: "b", parent_id: "org" });
    await book.create({ quota_id: "c", parent_id: "org", nominal: { H100: 4 } });
    await book.change("org", { replica_count: 1 });
    expect(book.all().map(({ quota }) => quota.quotaId)).toEqual(["b", "c", "org"]);
    expect((await open()).all()).toEqual(book.all());
    expect(book.get("org").revision).toBe(2);
  });

  it("keep what was written at a time in the order in which it was asked for", async () => {
    const book = await open();
    await book.create({ quota_id: "q" });
    const counts = Array.from({ length: 50 }, (_, n) => n + 1);
    await Promise.all(counts.map((replicas) => book.change("q", { replica_count: replicas })));
    expect(book.get("q")).toMatchObject({ revision: 51, quota: { replicas: 50 } });
    expect((await open()).get("q")).toEqual(book.get("q"));
  });
});
