import { type DocumentStore, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTermBook, type TermBook } from "./term-book.ts";

const orgId = "default_org";
let store: DocumentStore;

beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", systemClock);
});
afterEach(() => store.close());

const start = (controllerTerm: bigint, kept = 10_000): Promise<TermBook> =>
  openTermBook({ store, orgId, controllerTerm, kept });

/** Another copy of the store, as it is now. */
async function copyOf(original: DocumentStore): Promise<DocumentStore> {
  const copy = openSqliteDocumentStore(":memory:", systemClock);
  for (const collection of ["fleet", "fleet_terms"]) {
    for (const { id, body } of await original.list({ orgId, collection })) {
      await copy.apply([{ kind: "insert", key: { orgId, collection, id }, body }]);
    }
  }
  return copy;
}

describe("TermBook", () => {
  it("gives each term an id of at most 128 characters that it knows and proves at later starts", async () => {
    const { termId } = await start(1n);
    expect(termId.length).toBeLessThanOrEqual(128);
    const later = await start(2n);
    expect(later.idOf(1n)).toBe(termId);
    expect(later.idOf(2n)).toBe(later.termId);
    expect(later.termId).not.toBe(termId);
    expect(later.isProven(1n, termId)).toBe(true);
  });

  it("proves what another copy of the store gave, which it does not know", async () => {
    await start(1n);
    const copy = await copyOf(store);
    const lost = await openTermBook({ store: copy, orgId, controllerTerm: 2n });
    await copy.close();
    const ours = await start(2n);
    expect(ours.isProven(2n, lost.termId)).toBe(true);
    expect(ours.idOf(2n)).not.toBe(lost.termId);
  });

  it("proves neither another store's ids, nor another number's, nor what was made up", async () => {
    const other = openSqliteDocumentStore(":memory:", systemClock);
    const theirs = await openTermBook({ store: other, orgId, controllerTerm: 1n });
    await other.close();
    const ours = await start(1n);
    expect(ours.isProven(1n, theirs.termId)).toBe(false);
    expect(ours.isProven(2n, ours.termId)).toBe(false);
    for (const junk of ["", "x", `${ours.termId}x`, `${"0".repeat(36)}.${"A".repeat(43)}`]) {
      expect(ours.isProven(1n, junk)).toBe(false);
    }
  });

  it("keeps the newest terms only, and says how far back it knows", async () => {
    for (const term of [1n, 2n, 3n]) await start(term, 3);
    const book = await start(5n, 3);
    expect(book.oldest).toBe(2n);
    expect([1n, 2n, 3n, 4n].map((term) => book.idOf(term) !== undefined)).toEqual([
      false,
      true,
      true,
      false,
    ]);
    expect(await store.list({ orgId, collection: "fleet_terms" })).toHaveLength(3);
  });

  it("refuses to give a term twice", async () => {
    await start(1n);
    await expect(start(1n)).rejects.toThrow("the term 1 has an id already");
  });

  it("proves nothing of before after a renewal, which holds over a restart", async () => {
    const book = await start(1n);
    const before = book.termId;
    const renewal = book.renewal();
    expect(book.termId).toBe(before);
    await store.renewStoreId(renewal.writes);
    renewal.commit();
    expect(book.termId).toBe(renewal.termId);
    expect(book.isProven(1n, before)).toBe(false);
    const later = await start(2n);
    expect(later.idOf(1n)).toBe(renewal.termId);
    expect(later.isProven(1n, renewal.termId)).toBe(true);
  });
});
