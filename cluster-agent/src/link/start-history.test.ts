import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyStore } from "../testing/faulty-store.ts";
import { HandClock } from "../testing/fixtures.ts";
import { MAX_FORMER_STARTS, openStartHistory } from "./start-history.ts";

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", new HandClock());
});
afterEach(() => store.close());

/** A start that asks a control-plane, is answered or not, and dies; gives the starts it told of. */
async function start(instanceId: string, isAnswered: boolean): Promise<readonly string[]> {
  const history = await openStartHistory(store, "o");
  await history.begin(instanceId);
  if (isAnswered) await history.answered(instanceId);
  return history.former;
}

describe("StartHistory", () => {
  it("knows of no start before the first one", async () => {
    expect(await start("a", true)).toEqual([]);
  });

  it("keeps the one that was answered last", async () => {
    await start("a", true);
    expect(await start("b", true)).toEqual(["a"]);
    expect(await start("c", true)).toEqual(["b"]);
  });

  it("keeps, oldest first, those that crashed between asking and the answer", async () => {
    await start("a", true);
    await start("b", false);
    await start("c", false);
    expect(await start("d", true)).toEqual(["a", "b", "c"]);
    expect(await start("e", false)).toEqual(["d"]);
  });

  it("does not count a start that never asked", async () => {
    await start("a", true);
    await openStartHistory(store, "o");
    expect(await start("c", false)).toEqual(["a"]);
  });

  it("tells the same over the reconnects of one start, also when it was answered", async () => {
    await start("a", true);
    const history = await openStartHistory(store, "o");
    for (let session = 0; session < 3; session += 1) {
      await history.begin("b");
      expect(history.former).toEqual(["a"]);
      await history.answered("b");
      expect(history.former).toEqual(["a"]);
    }
    expect(await start("c", false)).toEqual(["b"]);
  });

  it("is bounded: the one that was answered last is kept, and the newest ones", async () => {
    await start("answered", true);
    for (let n = 0; n < MAX_FORMER_STARTS + 4; n += 1) await start(`s${n}`, false);
    const told = await start("last", false);
    expect(told).toHaveLength(MAX_FORMER_STARTS);
    expect(told.slice(0, 2)).toEqual(["answered", "s5"]);
    expect(told.at(-1)).toBe(`s${MAX_FORMER_STARTS + 3}`);
  });

  it("has not begun while it cannot be written, and begins once it can", async () => {
    await start("a", true);
    const faulty = new FaultyStore(store);
    const history = await openStartHistory(faulty, "o");
    faulty.isFull = true;
    await expect(history.begin("b")).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    faulty.isFull = false;
    await history.begin("b");
    expect(await start("c", false)).toEqual(["a", "b"]);
  });
});
