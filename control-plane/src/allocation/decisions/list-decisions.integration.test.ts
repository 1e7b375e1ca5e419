import type { DocumentStore } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  aRecord,
  bound,
  DecisionFixture,
  listed,
  numberOf,
  ORG,
} from "../../testing/decision-fixture.ts";

const MIB = 1024 * 1024;
const LARGE = "x".repeat(16 * 1024);

let fixture: DecisionFixture;

beforeEach(() => {
  fixture = new DecisionFixture();
});

afterEach(() => fixture.close());

/** Turns of the event loop that others have until a promise is settled. */
async function turnsUntil(promise: Promise<unknown>): Promise<number> {
  let turns = 0;
  let counting: NodeJS.Immediate;
  const count = () => {
    turns += 1;
    counting = setImmediate(count);
  };
  counting = setImmediate(count);
  await promise.finally(() => clearImmediate(counting));
  return turns;
}

/** A log whose store works for longer than a turn may take at each read, on any machine; told of each before. */
function slowLog(onRead: () => void = () => undefined) {
  const list: DocumentStore["list"] = (collection, page) => {
    onRead();
    const untilMs = performance.now() + 6;
    while (performance.now() < untilMs);
    return fixture.store.list(collection, page);
  };
  return fixture.openLog(undefined, { ...bound(fixture.store), list });
}

describe("a list of decisions", () => {
  it("is newest first, page by page, and holds also what is not written yet", async () => {
    for (let number = 1; number <= 5; number += 1) fixture.log.record(ORG, aRecord(number));
    const first = await listed(fixture.log, { limit: 2 });
    expect(first.decisions.map(numberOf)).toEqual([5, 4]);
    const second = await listed(fixture.log, { limit: 10, before: first.next ?? "" });
    expect(second.decisions.map(numberOf)).toEqual([3, 2, 1]);
    expect(second.next).toBeUndefined();
  });

  it.each([
    [{ policyRuleUri: "other:1-s" }, 2],
    [{ clusterId: "c9" }, 3],
    [{ outcome: "failed" as const }, 4],
    [{ clusterId: "c8" }, 5],
  ])("holds what is asked for by %j", async (query, number) => {
    const data_cut = { bytes: 99_999, sha256: "s", cluster_ids: ["c1", "c8"], cluster_ids_more: 0 };
    for (const record of [
      aRecord(1),
      aRecord(2, { policy_rule_uri: "other:1-s" }),
      aRecord(3, { data: [{ cluster_id: "c1" }, { cluster_id: "c9" }] }),
      aRecord(4, { outcome: "failed", data: null }),
      aRecord(5, { data: [{ cluster_id: "c1" }], data_cut }),
    ])
      fixture.log.record(ORG, record);
    const { decisions } = await listed(fixture.log, { ...query, limit: 10 });
    expect(decisions.map(numberOf)).toEqual([number]);
  });

  it("reads no more records than it holds, and few at a time when they are large", async () => {
    await fixture.fill(100, LARGE);
    const reads: number[] = [];
    const counting = fixture.openLog(undefined, fixture.countingReads(reads));
    await listed(counting, { limit: 1 });
    expect(reads).toEqual([1]);
    await listed(counting, { limit: 1_000 });
    expect(Math.max(...reads)).toBeLessThanOrEqual(64);
  });

  it("has pages of at most 1 MiB, and goes on with the next where one ends", async () => {
    // Three bytes for each character.
    await fixture.fill(100, "€".repeat(16 * 1024));
    const numbers: number[] = [];
    for (let next: string | undefined = ""; next !== undefined; ) {
      const page = await listed(fixture.log, { limit: 1_000, ...(next && { before: next }) });
      const bytes = Buffer.byteLength(JSON.stringify(page.decisions));
      expect(bytes).toBeLessThan(MIB);
      if (page.next !== undefined) expect(bytes).toBeGreaterThan(MIB * 0.9);
      numbers.push(...page.decisions.map(numberOf));
      next = page.next;
    }
    expect(numbers).toEqual(Array.from({ length: 100 }, (_, n) => 100 - n));
  });

  it("holds a decision alone that is larger than a page", async () => {
    const candidates = Array.from({ length: 100_000 }, (_, n) => `cluster-${n}-of-many`);
    for (const number of [1, 2]) fixture.log.record(ORG, aRecord(number, { candidates }));
    const { decisions, next } = await listed(fixture.log, { limit: 10 });
    expect(decisions.map(numberOf)).toEqual([2]);
    const rest = await listed(fixture.log, { limit: 10, before: next ?? "" });
    expect(rest.decisions.map(numberOf)).toEqual([1]);
  });

  it("lets others have their turn, also while it looks at what nobody asked for", async () => {
    await fixture.fill(1_000, LARGE);
    const query = { clusterId: "none", limit: 10 };
    expect(await turnsUntil(listed(slowLog(), query))).toBeGreaterThan(30);
  });

  it("lets others have their turn while it looks at what cannot be written", async () => {
    const apply = () => Promise.reject(new Error("the disk is full"));
    const stuck = fixture.openLog(undefined, { ...bound(fixture.store), apply });
    // What is not written waits whole.
    const data = { cluster_id: "c1", more: Array.from({ length: 700 }, (_, n) => ({ n })) };
    for (let number = 1; number <= 3_000; number += 1) stuck.record(ORG, aRecord(number, { data }));
    await stuck.flush();
    const query = { clusterId: "none", limit: 10 };
    expect(await turnsUntil(listed(stuck, query))).toBeGreaterThan(3);
    await stuck.stop();
  });

  it("is given up when its client goes", async () => {
    await fixture.fill(1_000, LARGE);
    const gone = new AbortController();
    let reads = 0;
    const slow = slowLog(() => {
      reads += 1;
      if (reads === 3) gone.abort(new Error("the client has gone"));
    });
    const answer = listed(slow, { clusterId: "none", limit: 10 }, gone.signal);
    await expect(answer).rejects.toThrow("the client has gone");
    expect(reads).toBeLessThan(10);
  });

  it("waits while two others are made", async () => {
    await fixture.fill(200, LARGE);
    const begun: string[] = [];
    const list: DocumentStore["list"] = (collection, page) => {
      if (page?.after === undefined) begun.push(collection.collection);
      return fixture.store.list(collection, page);
    };
    const log = fixture.openLog(undefined, { ...bound(fixture.store), list });
    const query = { clusterId: "none", limit: 10 };
    const lists = [0, 1, 2, 3].map(() => listed(log, query).then(() => begun.length));
    const begunAtEnds = await Promise.all(lists);
    expect(Math.min(...begunAtEnds)).toBeLessThanOrEqual(3);
    expect(begun).toHaveLength(4);
  });
});
