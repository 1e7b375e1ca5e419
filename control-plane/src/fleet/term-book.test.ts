import { type DocumentStore, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTermBook, type TermBook } from "./term-book.ts";
import { stretchOf } from "./term-id.ts";

const orgId = "default_org";
let store: DocumentStore;

beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

const start = (kept = 10_000): Promise<TermBook> => openTermBook({ store, orgId, kept });

/** Another copy of the store, as it is now. */
async function copyOf(original: DocumentStore): Promise<DocumentStore> {
  const copy = openSqliteDocumentStore(":memory:", systemClock);
  for (const collection of ["fleet", "term_starts"]) {
    for (const { id, body } of await original.list({ orgId, collection })) {
      await copy.apply([{ kind: "insert", key: { orgId, collection, id }, body }]);
    }
  }
  return copy;
}

const numberOf = ({ termId }: TermBook) => stretchOf(termId)?.number;

describe("TermBook", () => {
  it("begins a stretch at each start, with an id that it knows and proves at later ones", async () => {
    const { termId } = await start();
    expect(termId.length).toBeLessThanOrEqual(128);
    const later = await start();
    expect(later.gave(termId)).toBe(true);
    expect(later.gave(later.termId)).toBe(true);
    expect(later.isProven(termId)).toBe(true);
    expect(numberOf(later)).toBe(2);
  });

  it("begins further ones within a start, durably, and knows all of them", async () => {
    const book = await start();
    const ids = [book.termId];
    for (let more = 0; more < 3; more += 1) {
      await book.begin();
      ids.push(book.termId);
    }
    expect(ids.map((id) => stretchOf(id)?.number)).toEqual([1, 2, 3, 4]);
    const later = await start();
    for (const id of ids) expect([book.gave(id), later.gave(id)]).toEqual([true, true]);
    expect(numberOf(later)).toBe(5);
  });

  it("begins several at once, whose ids are known before, and tells which of them an id reaches", async () => {
    const book = await start();
    const former = book.termId;
    const ids = book.next(3);
    expect(book.termId).toBe(former);
    await book.begin(3);
    expect(book.termId).toBe(ids[2]);
    expect(ids.map((id) => stretchOf(id)?.number)).toEqual([2, 3, 4]);
    const later = await start();
    const [second = "", third = ""] = ids;
    expect(later.reaches(third, second)).toBe(true);
    expect(later.reaches(second, second)).toBe(true);
    expect(later.reaches(second, third)).toBe(false);
    expect(later.reaches("", former)).toBe(false);
    const forged = third.replace(/^3/, "999");
    expect(later.reaches(forged, former)).toBe(false);
  });

  it("keeps its newest stretch when the next one cannot be written", async () => {
    const book = await start();
    const { termId } = book;
    await store.close();
    await expect(book.begin()).rejects.toThrow("closed");
    expect(book.termId).toBe(termId);
  });

  it("proves what a running store gave after it was copied, which the copy does not know", async () => {
    const running = await start();
    const before = running.termId;
    const copy = await copyOf(store);
    await running.begin();
    const restored = await openTermBook({ store: copy, orgId });
    for (let more = 0; more < 3; more += 1) {
      expect(restored.gave(before)).toBe(true);
      expect(restored.gave(running.termId)).toBe(false);
      expect(restored.isProven(running.termId)).toBe(true);
      expect(running.gave(restored.termId)).toBe(false);
      await restored.begin();
    }
    await copy.close();
  });

  it("proves neither another store's ids, nor a changed number, nor what was made up", async () => {
    const other = openSqliteDocumentStore(":memory:", systemClock);
    const theirs = await openTermBook({ store: other, orgId });
    await other.close();
    const ours = await start();
    await ours.begin();
    const changed = ours.termId.replace("2.", "1.");
    const junk = ["", "x", `${ours.termId}x`, changed, "9".repeat(128), theirs.termId];
    for (const text of junk) expect([ours.isProven(text), ours.gave(text)]).toEqual([false, false]);
  });

  it("remembers the newest starts only, and says how far back it knows", async () => {
    const books: TermBook[] = [];
    for (let starts = 0; starts < 5; starts += 1) books.push(await start(3));
    const newest = books.at(-1);
    expect(newest?.oldest).toBe(3);
    const known = books.map(({ termId }) => newest?.gave(termId));
    expect(known).toEqual([false, false, true, true, true]);
    expect(await store.list({ orgId, collection: "term_starts" })).toHaveLength(3);
  });

  it("removes what unreleased versions kept by term", async () => {
    const key = { orgId, collection: "fleet_terms", id: "0000000000000001" };
    await store.apply([{ kind: "insert", key, body: { termId: "x" } }]);
    await start();
    expect(await store.get(key)).toBeUndefined();
  });

  it("proves nothing of before after a renewal, which holds over a restart", async () => {
    const book = await start();
    const before = book.termId;
    const renewal = book.renewal();
    expect(book.termId).toBe(before);
    await store.renewStoreId(renewal.writes);
    renewal.commit();
    expect(book.termId).toBe(renewal.termId);
    expect([book.isProven(before), book.gave(before)]).toEqual([false, false]);
    await book.begin();
    const later = await start();
    expect([later.gave(renewal.termId), later.gave(book.termId)]).toEqual([true, true]);
    expect(numberOf(later)).toBe(4);
  });
});
