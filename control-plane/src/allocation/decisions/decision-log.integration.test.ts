import { BerthError, type DocumentStore, silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  aRecord,
  bound,
  DAY_MS,
  DecisionFixture,
  listed,
  numberOf,
  ORG,
} from "../../testing/decision-fixture.ts";
import { DecisionLog } from "./decision-log.ts";
import type { DecisionQuery } from "./decision-record.ts";

let fixture: DecisionFixture;

beforeEach(() => {
  fixture = new DecisionFixture();
});

afterEach(() => fixture.close());

/** Id of the decision of a number. */
const id = (number: number) => aRecord(number).decision_id;

describe("DecisionLog", () => {
  it("gives a decision back before and after it was written, and after a restart", async () => {
    const record = aRecord(1);
    fixture.log.record(ORG, record);
    expect(await fixture.log.get(ORG, record.decision_id)).toEqual(record);
    await fixture.log.flush();
    expect(await fixture.openLog().get(ORG, record.decision_id)).toEqual(record);
    expect(await fixture.log.get("another", record.decision_id)).toBeUndefined();
  });

  it("keeps one list of candidates for all decisions that share it", async () => {
    for (let number = 1; number <= 50; number += 1) fixture.log.record(ORG, aRecord(number));
    await fixture.log.flush();
    const pools = await fixture.store.list({ orgId: ORG, collection: "decision_pools" });
    expect(pools.length).toBe(1);
  });

  it("forgets decisions that are too old, and lists that only they used", async () => {
    const old = new Date(Date.now() - 8 * DAY_MS).toISOString();
    fixture.log.record(ORG, aRecord(1, { decided_at: old, candidates: ["old"] }));
    fixture.log.record(ORG, aRecord(2));
    await fixture.log.flush();
    await fixture.log.prune();
    expect(await fixture.log.get(ORG, id(1))).toBeUndefined();
    expect(await fixture.log.get(ORG, id(2))).toEqual(
      expect.objectContaining({ candidates: ["c1", "c2"] }),
    );
    const pools = await fixture.store.list({ orgId: ORG, collection: "decision_pools" });
    expect(pools.length).toBe(1);
  });

  it("forgets the oldest decisions when there are too many bytes", async () => {
    fixture.log = fixture.openLog({ maxAgeMs: 7 * DAY_MS, maxBytes: 2 * 1024 * 1024 });
    for (let number = 1; number <= 1_000; number += 1) {
      fixture.log.record(ORG, aRecord(number, { policy_log: "x".repeat(1_000) }));
    }
    await fixture.log.flush();
    await fixture.log.prune();
    expect(await fixture.store.sizeBytes()).toBeLessThanOrEqual(2 * 1024 * 1024);
    expect(await fixture.log.get(ORG, id(1000))).toBeDefined();
    expect(await fixture.log.get(ORG, id(1))).toBeUndefined();
  });

  it("stays within its bytes when every decision has large lists of its own, and keeps the newest", async () => {
    const maxBytes = 1024 * 1024;
    fixture.log = fixture.openLog({ maxAgeMs: 7 * DAY_MS, maxBytes });
    const poolOf = (number: number) => ({
      candidates: Array.from({ length: 200 }, (_, n) => `cluster-${number}-${n}`),
      dropped: Array.from({ length: 100 }, (_, n) => ({ id: `c-${number}-${n}`, reason: "gone" })),
    });
    for (let round = 0; round < 4; round += 1) {
      for (let number = round * 100; number < (round + 1) * 100; number += 1) {
        fixture.log.record(ORG, aRecord(number, poolOf(number)));
      }
      await fixture.log.flush();
      await fixture.log.prune();
      expect(await fixture.store.sizeBytes()).toBeLessThanOrEqual(maxBytes);
    }
    const { decisions } = await listed(fixture.log, { limit: 1_000 });
    expect(decisions.length).toBeGreaterThan(20);
    expect(decisions[0]?.decision_id).toBe(id(399));
    for (const [index, decision] of decisions.entries()) {
      expect(decision).toMatchObject(poolOf(399 - index));
    }
    expect((await fixture.store.list({ orgId: ORG, collection: "decision_pools" })).length).toBe(
      decisions.length,
    );
  });

  it("keeps a list as long as one decision names it, over a restart too", async () => {
    const old = new Date(Date.now() - 8 * DAY_MS).toISOString();
    const pool = { candidates: ["shared"], dropped: [] };
    fixture.log.record(ORG, aRecord(1, { ...pool, decided_at: old }));
    fixture.log.record(ORG, aRecord(2, { ...pool, decided_at: old }));
    await fixture.log.flush();
    fixture.log = fixture.openLog();
    fixture.log.record(ORG, aRecord(3, pool));
    await fixture.log.flush();
    await fixture.log.prune();
    const { decisions } = await listed(fixture.log, { limit: 10 });
    expect(decisions).toEqual([expect.objectContaining({ decision_id: id(3), ...pool })]);
    await fixture.log.prune(Date.now() + 8 * DAY_MS);
    for (const collection of ["decisions", "decision_pools", "decision_pool_users"]) {
      expect(await fixture.store.list({ orgId: ORG, collection })).toEqual([]);
    }
  });

  it("does not delete everything when that does not make the store smaller", async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    const constant = {
      get: (...args: Parameters<DocumentStore["get"]>) => fixture.store.get(...args),
      list: (...args: Parameters<DocumentStore["list"]>) => fixture.store.list(...args),
      apply: (...args: Parameters<DocumentStore["apply"]>) => fixture.store.apply(...args),
      sizeBytes: async () => 2 * 1024 * 1024,
    } as DocumentStore;
    const limits = { maxAgeMs: 7 * DAY_MS, maxBytes: 1024 * 1024 };
    const stuck = new DecisionLog({ store: constant, orgId: ORG, limits, logger });
    for (let number = 1; number <= 1_000; number += 1) stuck.record(ORG, aRecord(number));
    await stuck.flush();
    await stuck.prune();
    await stuck.prune();
    expect((await fixture.store.list({ orgId: ORG, collection: "decisions" })).length).toBe(890);
    expect(warnings.length).toBe(1);
  });

  it("holds a bounded number of records that cannot be written, and loses none of those", async () => {
    await fixture.store.close();
    for (let number = 1; number <= 10_050; number += 1) fixture.log.record(ORG, aRecord(number));
    await fixture.log.flush();
    expect(await fixture.log.get(ORG, id(10000))).toBeDefined();
    fixture.store = fixture.openStore();
    expect(await fixture.store.list({ orgId: ORG, collection: "decisions" })).toEqual([]);
  });

  it("holds a bounded number of bytes that cannot be written", async () => {
    await fixture.store.close();
    const policy_log = "x".repeat(1024 * 1024);
    for (let number = 1; number <= 40; number += 1)
      fixture.log.record(ORG, aRecord(number, { policy_log }));
    expect(await fixture.log.get(ORG, id(31))).toBeDefined();
    await expect(fixture.log.get(ORG, id(33))).rejects.toThrow();
    fixture.store = fixture.openStore();
  });

  it("lists what cannot be written among what was written, and says why it cannot", async () => {
    for (const number of [1, 3, 5]) fixture.log.record(ORG, aRecord(number));
    await fixture.log.flush();
    expect(fixture.log.failure).toBeUndefined();
    const full = {
      ...bound(fixture.store),
      apply: async () => Promise.reject(new BerthError("UNAVAILABLE", "the disk is full")),
    };
    const stuck = fixture.openLog(undefined, full);
    for (const number of [2, 4, 6]) stuck.record(ORG, aRecord(number));
    stuck.record("another", aRecord(7));
    const numbers = async (query: DecisionQuery) => {
      const { decisions, next } = await listed(stuck, query);
      return [decisions.map(numberOf), next];
    };
    expect(await numbers({ limit: 1 })).toEqual([[6], id(6)]);
    expect(await numbers({ limit: 10 })).toEqual([[6, 5, 4, 3, 2, 1], undefined]);
    expect(await numbers({ limit: 2, before: id(5) })).toEqual([[4, 3], id(3)]);
    expect(await numbers({ limit: 2, before: id(3) })).toEqual([[2, 1], id(1)]);
    expect(stuck.failure).toContain("the disk is full");
    expect((await stuck.get(ORG, id(6)))?.decision_id).toBe(id(6));
    await stuck.stop();
  });

  it("can be written again when it could not for a while", async () => {
    let isFull = true;
    const sometimes = {
      ...bound(fixture.store),
      apply: (...args: Parameters<DocumentStore["apply"]>) =>
        isFull
          ? Promise.reject(new BerthError("UNAVAILABLE", "the disk is full"))
          : fixture.store.apply(...args),
    };
    const healing = fixture.openLog(undefined, sometimes);
    healing.record(ORG, aRecord(1));
    await healing.flush();
    expect(healing.failure).toContain("the disk is full");
    isFull = false;
    await healing.flush();
    expect(healing.failure).toBeUndefined();
    expect(await fixture.openLog().get(ORG, id(1))).toBeDefined();
    await healing.stop();
  });

  it("looks no more at its records when it knows how old they are", async () => {
    const at = (ms: number) => ({
      decided_at: new Date(Date.now() - 7 * DAY_MS + ms).toISOString(),
    });
    for (let number = 1; number <= 3; number += 1)
      fixture.log.record(ORG, aRecord(number, at(3_600_000 * number)));
    await fixture.log.flush();
    const reads: number[] = [];
    const counting = fixture.openLog(undefined, fixture.countingReads(reads));
    await counting.prune();
    expect(reads.length).toBe(1);
    await counting.prune();
    await counting.prune(Date.now() + 1_800_000);
    expect(reads.length).toBe(1);
    await counting.prune(Date.now() + 9_000_000);
    const { decisions } = await listed(counting, { limit: 10 });
    expect(decisions.map(({ decision_id }) => decision_id)).toEqual([id(3)]);
    await counting.prune(Date.now() + 12_600_000);
    expect((await listed(counting, { limit: 10 })).decisions).toEqual([]);
  });
});
