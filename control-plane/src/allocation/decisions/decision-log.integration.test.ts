import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  BerthError,
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DecisionLog } from "./decision-log.ts";
import type { DecisionQuery, DecisionRecord } from "./decision-record.ts";

const ORG = "default_org";
const DAY_MS = 24 * 60 * 60 * 1_000;

let directory: string;
let store: DocumentStore;
let log: DecisionLog;

const openLog = (
  limits = { maxAgeMs: 7 * DAY_MS, maxBytes: 64 * 1024 * 1024 },
  on: DocumentStore = store,
): DecisionLog => new DecisionLog({ store: on, orgId: ORG, limits, logger: silentLogger });

beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-decisions-"));
  store = openSqliteDocumentStore(path.join(directory, "decisions.db"), systemClock, {
    durability: "process",
  });
  log = openLog();
});

afterEach(async () => {
  await log.stop();
  await store.close();
  rmSync(directory, { recursive: true });
});

function aRecord(number: number, overrides: Partial<DecisionRecord> = {}): DecisionRecord {
  return {
    decision_id: `id-${String(number).padStart(6, "0")}`,
    decided_at: new Date().toISOString(),
    outcome: "placed",
    policy_rule_uri: "p:1-s",
    policy_digest: "d",
    inputs_digest: "i",
    selection: "all",
    inventory_revision: 7,
    candidates: ["c1", "c2"],
    dropped: [{ id: "c3", reason: "unreachable" }],
    dropped_more: 0,
    warnings: [],
    data: { cluster_id: "c1" },
    error: null,
    attempts: 1,
    assume_seconds: 0,
    timings_ms: { total: 1, queued: 0, policy: 1, policy_cpu: 1 },
    policy_log: "",
    ...overrides,
  };
}

describe("DecisionLog", () => {
  it("gives a decision back before and after it was written, and after a restart", async () => {
    const record = aRecord(1);
    log.record(ORG, record);
    expect(await log.get(ORG, record.decision_id)).toEqual(record);
    await log.flush();
    expect(await openLog().get(ORG, record.decision_id)).toEqual(record);
    expect(await log.get("another", record.decision_id)).toBeUndefined();
  });

  it("lists newest first, page by page, also what is not written yet", async () => {
    for (let number = 1; number <= 5; number += 1) log.record(ORG, aRecord(number));
    const first = await log.list(ORG, { limit: 2 });
    expect(first.decisions.map((record) => record.decision_id)).toEqual(["id-000005", "id-000004"]);
    const second = await log.list(ORG, { limit: 10, before: first.next ?? "" });
    expect(second.decisions.map((record) => record.decision_id)).toEqual([
      "id-000003",
      "id-000002",
      "id-000001",
    ]);
    expect(second.next).toBeUndefined();
  });

  it.each([
    [{ policyRuleUri: "other:1-s" }, "id-000002"],
    [{ clusterId: "c9" }, "id-000003"],
    [{ outcome: "failed" as const }, "id-000004"],
    [{ clusterId: "c8" }, "id-000005"],
  ])("finds decisions by %j", async (query, id) => {
    log.record(ORG, aRecord(1));
    log.record(ORG, aRecord(2, { policy_rule_uri: "other:1-s" }));
    log.record(ORG, aRecord(3, { data: [{ cluster_id: "c1" }, { cluster_id: "c9" }] }));
    log.record(ORG, aRecord(4, { outcome: "failed", data: null }));
    const data_cut = { bytes: 99_999, sha256: "s", cluster_ids: ["c1", "c8"], cluster_ids_more: 0 };
    log.record(ORG, aRecord(5, { data: [{ cluster_id: "c1" }], data_cut }));
    const { decisions } = await log.list(ORG, { ...query, limit: 10 });
    expect(decisions.map((record) => record.decision_id)).toEqual([id]);
  });

  it("keeps one list of candidates for all decisions that share it", async () => {
    for (let number = 1; number <= 50; number += 1) log.record(ORG, aRecord(number));
    await log.flush();
    const pools = await store.list({ orgId: ORG, collection: "decision_pools" });
    expect(pools.length).toBe(1);
  });

  it("forgets decisions that are too old, and lists that only they used", async () => {
    const old = new Date(Date.now() - 8 * DAY_MS).toISOString();
    log.record(ORG, aRecord(1, { decided_at: old, candidates: ["old"] }));
    log.record(ORG, aRecord(2));
    await log.flush();
    await log.prune();
    expect(await log.get(ORG, "id-000001")).toBeUndefined();
    expect(await log.get(ORG, "id-000002")).toEqual(
      expect.objectContaining({ candidates: ["c1", "c2"] }),
    );
    const pools = await store.list({ orgId: ORG, collection: "decision_pools" });
    expect(pools.length).toBe(1);
  });

  it("forgets the oldest decisions when there are too many bytes", async () => {
    log = openLog({ maxAgeMs: 7 * DAY_MS, maxBytes: 2 * 1024 * 1024 });
    for (let number = 1; number <= 1_000; number += 1) {
      log.record(ORG, aRecord(number, { policy_log: "x".repeat(1_000) }));
    }
    await log.flush();
    await log.prune();
    expect(await store.sizeBytes()).toBeLessThanOrEqual(2 * 1024 * 1024);
    expect(await log.get(ORG, "id-001000")).toBeDefined();
    expect(await log.get(ORG, "id-000001")).toBeUndefined();
  });

  it("stays within its bytes when every decision has large lists of its own, and keeps the newest", async () => {
    const maxBytes = 1024 * 1024;
    log = openLog({ maxAgeMs: 7 * DAY_MS, maxBytes });
    const poolOf = (number: number) => ({
      candidates: Array.from({ length: 200 }, (_, n) => `cluster-${number}-${n}`),
      dropped: Array.from({ length: 100 }, (_, n) => ({ id: `c-${number}-${n}`, reason: "gone" })),
    });
    for (let round = 0; round < 4; round += 1) {
      for (let number = round * 100; number < (round + 1) * 100; number += 1) {
        log.record(ORG, aRecord(number, poolOf(number)));
      }
      await log.flush();
      await log.prune();
      expect(await store.sizeBytes()).toBeLessThanOrEqual(maxBytes);
    }
    const { decisions } = await log.list(ORG, { limit: 1_000 });
    expect(decisions.length).toBeGreaterThan(20);
    expect(decisions[0]?.decision_id).toBe("id-000399");
    for (const [index, decision] of decisions.entries()) {
      expect(decision).toMatchObject(poolOf(399 - index));
    }
    expect((await store.list({ orgId: ORG, collection: "decision_pools" })).length).toBe(
      decisions.length,
    );
  });

  it("keeps a list as long as one decision names it, over a restart too", async () => {
    const old = new Date(Date.now() - 8 * DAY_MS).toISOString();
    const pool = { candidates: ["shared"], dropped: [] };
    log.record(ORG, aRecord(1, { ...pool, decided_at: old }));
    log.record(ORG, aRecord(2, { ...pool, decided_at: old }));
    await log.flush();
    log = openLog();
    log.record(ORG, aRecord(3, pool));
    await log.flush();
    await log.prune();
    const { decisions } = await log.list(ORG, { limit: 10 });
    expect(decisions).toEqual([expect.objectContaining({ decision_id: "id-000003", ...pool })]);
    await log.prune(Date.now() + 8 * DAY_MS);
    for (const collection of ["decisions", "decision_pools", "decision_pool_users"]) {
      expect(await store.list({ orgId: ORG, collection })).toEqual([]);
    }
  });

  it("does not delete everything when that does not make the store smaller", async () => {
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
    const constant = {
      get: (...args: Parameters<DocumentStore["get"]>) => store.get(...args),
      list: (...args: Parameters<DocumentStore["list"]>) => store.list(...args),
      apply: (...args: Parameters<DocumentStore["apply"]>) => store.apply(...args),
      sizeBytes: async () => 2 * 1024 * 1024,
    } as DocumentStore;
    const limits = { maxAgeMs: 7 * DAY_MS, maxBytes: 1024 * 1024 };
    const stuck = new DecisionLog({ store: constant, orgId: ORG, limits, logger });
    for (let number = 1; number <= 1_000; number += 1) stuck.record(ORG, aRecord(number));
    await stuck.flush();
    await stuck.prune();
    await stuck.prune();
    expect((await store.list({ orgId: ORG, collection: "decisions" })).length).toBe(890);
    expect(warnings.length).toBe(1);
  });

  it("holds a bounded number of records that cannot be written, and loses none of those", async () => {
    await store.close();
    for (let number = 1; number <= 10_050; number += 1) log.record(ORG, aRecord(number));
    await log.flush();
    expect(await log.get(ORG, "id-010000")).toBeDefined();
    store = openSqliteDocumentStore(path.join(directory, "decisions.db"), systemClock);
    expect(await store.list({ orgId: ORG, collection: "decisions" })).toEqual([]);
  });

  it("holds a bounded number of bytes that cannot be written", async () => {
    await store.close();
    const policy_log = "x".repeat(1024 * 1024);
    for (let number = 1; number <= 40; number += 1)
      log.record(ORG, aRecord(number, { policy_log }));
    expect(await log.get(ORG, "id-000031")).toBeDefined();
    await expect(log.get(ORG, "id-000033")).rejects.toThrow();
    store = openSqliteDocumentStore(path.join(directory, "decisions.db"), systemClock);
  });

  it("lists what cannot be written among what was written, and says why it cannot", async () => {
    for (const number of [1, 3, 5]) log.record(ORG, aRecord(number));
    await log.flush();
    expect(log.failure).toBeUndefined();
    const full = {
      ...bound(store),
      apply: async () => Promise.reject(new BerthError("UNAVAILABLE", "the disk is full")),
    };
    const stuck = openLog(undefined, full);
    for (const number of [2, 4, 6]) stuck.record(ORG, aRecord(number));
    stuck.record("another", aRecord(7));
    const listed = async (query: DecisionQuery) => {
      const { decisions, next } = await stuck.list(ORG, query);
      return [decisions.map(({ decision_id }) => Number(decision_id.slice(3))), next];
    };
    expect(await listed({ limit: 1 })).toEqual([[6], "id-000006"]);
    expect(await listed({ limit: 10 })).toEqual([[6, 5, 4, 3, 2, 1], undefined]);
    expect(await listed({ limit: 2, before: "id-000005" })).toEqual([[4, 3], "id-000003"]);
    expect(await listed({ limit: 2, before: "id-000003" })).toEqual([[2, 1], "id-000001"]);
    expect(stuck.failure).toContain("the disk is full");
    expect((await stuck.get(ORG, "id-000006"))?.decision_id).toBe("id-000006");
    await stuck.stop();
  });

  it("can be written again when it could not for a while", async () => {
    let isFull = true;
    const sometimes = {
      ...bound(store),
      apply: (...args: Parameters<DocumentStore["apply"]>) =>
        isFull
          ? Promise.reject(new BerthError("UNAVAILABLE", "the disk is full"))
          : store.apply(...args),
    };
    const healing = openLog(undefined, sometimes);
    healing.record(ORG, aRecord(1));
    await healing.flush();
    expect(healing.failure).toContain("the disk is full");
    isFull = false;
    await healing.flush();
    expect(healing.failure).toBeUndefined();
    expect(await openLog().get(ORG, "id-000001")).toBeDefined();
    await healing.stop();
  });

  it("reads no more records than it lists, and few at a time when they are large", async () => {
    const policy_log = "x".repeat(16 * 1024);
    for (let number = 1; number <= 600; number += 1)
      log.record(ORG, aRecord(number, { policy_log }));
    await log.flush();
    const reads: number[] = [];
    const counting = openLog(undefined, countingReads(reads));
    await counting.list(ORG, { limit: 1 });
    expect(reads).toEqual([1]);
    const { decisions, next } = await counting.list(ORG, { limit: 1_000 });
    expect(Math.max(...reads)).toBeLessThanOrEqual(64);
    // 4 MiB of them, and the rest with the next page.
    expect(decisions.length).toBeGreaterThan(200);
    expect(decisions.length).toBeLessThan(300);
    expect(next).toBe(decisions.at(-1)?.decision_id);
    const rest = await counting.list(ORG, { limit: 1_000, before: next ?? "" });
    expect(rest.decisions[0]?.decision_id).toBe(
      `id-${String(600 - decisions.length).padStart(6, "0")}`,
    );
  });

  it("looks no more at its records when it knows how old they are", async () => {
    const at = (ms: number) => ({
      decided_at: new Date(Date.now() - 7 * DAY_MS + ms).toISOString(),
    });
    for (let number = 1; number <= 3; number += 1)
      log.record(ORG, aRecord(number, at(3_600_000 * number)));
    await log.flush();
    const reads: number[] = [];
    const counting = openLog(undefined, countingReads(reads));
    await counting.prune();
    expect(reads.length).toBe(1);
    await counting.prune();
    await counting.prune(Date.now() + 1_800_000);
    expect(reads.length).toBe(1);
    await counting.prune(Date.now() + 9_000_000);
    const { decisions } = await counting.list(ORG, { limit: 10 });
    expect(decisions.map(({ decision_id }) => decision_id)).toEqual(["id-000003"]);
    await counting.prune(Date.now() + 12_600_000);
    expect((await counting.list(ORG, { limit: 10 })).decisions).toEqual([]);
  });
});

/** The store's methods, to be given to a log with others in their place. */
function bound(of: DocumentStore): DocumentStore {
  return {
    storeId: () => of.storeId(),
    get: (...args) => of.get(...args),
    list: (...args) => of.list(...args),
    apply: (...args) => of.apply(...args),
    renewStoreId: (...args) => of.renewStoreId(...args),
    raise: (...args) => of.raise(...args),
    sizeBytes: () => of.sizeBytes(),
    close: () => of.close(),
  };
}

/** The store; how many records each read of records gave is added to `reads`. */
function countingReads(reads: number[]): DocumentStore {
  return {
    ...bound(store),
    list: async (collection, page) => {
      const found = await store.list(collection, page);
      if (collection.collection === "decisions") reads.push(found.length);
      return found as never;
    },
  };
}
