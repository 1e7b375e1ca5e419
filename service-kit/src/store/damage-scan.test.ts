import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DamageScan } from "./damage-scan.ts";

const LENGTH = 100_000;

let database: DatabaseSync;
const found: unknown[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  found.length = 0;
  database = new DatabaseSync(":memory:");
  database.exec(
    `CREATE TABLE documents (org_id TEXT, collection TEXT, id TEXT, body TEXT,
     PRIMARY KEY (org_id, collection, id)) WITHOUT ROWID`,
  );
  const insert = database.prepare("INSERT INTO documents VALUES (?, ?, ?, ?)");
  for (const collection of ["a", "b", ""]) {
    for (const id of ["", "1", "2"]) insert.run("o", collection, id, "x".repeat(LENGTH));
  }
});
afterEach(() => {
  vi.useRealTimers();
  if (database.isOpen) database.close();
});

const scan = () => new DamageScan(database, (thrown) => found.push(thrown));

describe("DamageScan", () => {
  it("reads all documents in turns of a bounded length, and ends", () => {
    scan();
    const prepare = vi.spyOn(database, "prepare");
    vi.advanceTimersByTime(10);
    expect(prepare).toHaveBeenCalledTimes(1);
    vi.runAllTimers();
    // Three documents of 100,000 reach a turn's 262,144; the fourth turn finds nothing behind the ninth.
    expect(prepare).toHaveBeenCalledTimes(4);
    expect(vi.getTimerCount()).toBe(0);
    expect(found).toEqual([]);
  });

  it("walks along the primary key, without sorting", () => {
    const prepare = vi.spyOn(database, "prepare");
    scan();
    vi.advanceTimersByTime(10);
    const [select = ""] = prepare.mock.calls[0] ?? [];
    const plan = database.prepare(`EXPLAIN QUERY PLAN ${select}`).all("", "", "");
    expect(plan.map(({ detail }) => detail)).toEqual([
      expect.stringMatching(/^SEARCH documents USING PRIMARY KEY/),
    ]);
  });

  it("tells once what a read throws, and ends", () => {
    scan();
    database.exec("DROP TABLE documents");
    vi.runAllTimers();
    expect(found).toEqual([expect.objectContaining({ message: "no such table: documents" })]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("reads nothing any more once it is stopped", () => {
    const begun = scan();
    vi.advanceTimersByTime(10);
    begun.stop();
    database.close();
    vi.runAllTimers();
    expect(vi.getTimerCount()).toBe(0);
    expect(found).toEqual([]);
  });
});
