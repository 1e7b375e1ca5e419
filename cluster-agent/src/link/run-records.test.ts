import { type DocumentStore, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyStore } from "../testing/faulty-store.ts";
import { openRunRecords } from "./run-records.ts";

let behind: DocumentStore;
let store: FaultyStore;
beforeEach(() => {
  behind = openSqliteDocumentStore(":memory:", systemClock);
  store = new FaultyStore(behind);
});
afterEach(() => behind.close());

const open = (kept?: number) =>
  openRunRecords({ store, orgId: "o", ...(kept === undefined ? {} : { kept }) });
const storedIds = async () =>
  (await behind.list({ orgId: "o", collection: "command_runs" })).map(({ id }) => id);

describe("RunRecords", () => {
  it("counts the runs of each command, over restarts", async () => {
    const records = await open();
    expect(records.of("c1")).toBe(0);
    expect(await records.count("c1")).toBe(1);
    expect(await records.count("c2")).toBe(1);
    expect(await records.count("c1")).toBe(2);
    const again = await open();
    expect([again.of("c1"), again.of("c2"), again.of("c3")]).toEqual([2, 1, 0]);
  });

  it("keeps the newest, and removes the others from the store", async () => {
    const records = await open(3);
    for (const id of ["c1", "c2", "c3", "c1", "c4"]) await records.count(id);
    expect(await storedIds()).toEqual(["c1", "c3", "c4"]);
    expect([records.of("c1"), records.of("c2")]).toEqual([2, 0]);
    await Promise.all(["c5", "c6", "c7", "c8"].map((id) => records.count(id)));
    expect(await storedIds()).toEqual(["c6", "c7", "c8"]);
  });

  it("comes down to a smaller number that is kept", async () => {
    const records = await open();
    for (let n = 0; n < 9; n += 1) await records.count(`c${n}`);
    await (await open(2)).count("c9");
    expect(await storedIds()).toHaveLength(2);
    expect(await storedIds()).toContain("c9");
  });

  it("knows what it knew when the disk does not take a run", async () => {
    const records = await open(2);
    for (const id of ["c1", "c2"]) await records.count(id);
    store.isFull = true;
    await expect(records.count("c3")).rejects.toThrow("full");
    await expect(records.count("c2")).rejects.toThrow("full");
    expect(["c1", "c2", "c3"].map((id) => records.of(id))).toEqual([1, 1, 0]);
    store.isFull = false;
    expect(await records.count("c3")).toBe(1);
    expect(await records.count("c2")).toBe(2);
    expect(await storedIds()).toEqual(["c2", "c3"]);
  });
});
