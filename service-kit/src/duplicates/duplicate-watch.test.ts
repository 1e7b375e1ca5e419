import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "../clock.ts";
import { silentLogger } from "../log.ts";
import type { DocumentStore } from "../store/document-store.ts";
import { KeyedDocuments } from "../store/keyed-documents.ts";
import { openSqliteDocumentStore } from "../store/sqlite-document-store.ts";
import { A1, A2, FRESH_STATE, RULES, SAME_BOOT_COPY } from "../testing/duplicate-scenario.ts";
import { DuplicateWatch } from "./duplicate-watch.ts";
import type { AgentInstance } from "./sightings.ts";
import type { Standing } from "./standing.ts";

const STANDINGS = { orgId: "org-a", collection: "standings" };

let seconds: number;
let store: DocumentStore;
let alarms: string[];
const clock: Clock = {
  nowMs: () => seconds * 1_000,
  timestamp: () => new Date(seconds * 1_000).toISOString(),
};

beforeEach(() => {
  seconds = 0;
  alarms = [];
  store = openSqliteDocumentStore(":memory:", clock);
});
afterEach(() => store.close());

async function opened(holder?: AgentInstance): Promise<DuplicateWatch> {
  const watch = new DuplicateWatch({
    subject: "cluster",
    standings: new KeyedDocuments<Standing>({ store, ...STANDINGS }),
    clock,
    logger: silentLogger,
    rules: RULES,
    onDuplicate: (id, candidates) => {
      alarms.push(`${id}: ${candidates.map(({ instanceId }) => instanceId).join(" ")}`);
    },
  });
  await watch.load(new Map(holder === undefined ? [] : [["berlin", holder]]));
  return watch;
}

const asks = (watch: DuplicateWatch, agent: AgentInstance, isHolderPresent = false) =>
  watch.asks("berlin", { agent, isHolderPresent });

/** Two agents on one state, up to the moment before they are found out. */
async function overlapping(): Promise<DuplicateWatch> {
  const watch = await opened();
  expect(await asks(watch, A1)).toBe("taken");
  expect(await asks(watch, SAME_BOOT_COPY, true)).toBe("wait");
  seconds += 12;
  expect(await watch.reports("berlin")).toBe("taken");
  seconds += 1;
  return watch;
}

async function duplicated(): Promise<DuplicateWatch> {
  const watch = await overlapping();
  expect(await asks(watch, SAME_BOOT_COPY, true)).toBe("duplicate");
  return watch;
}

const stored = () => store.list(STANDINGS);

describe("DuplicateWatch", () => {
  it("raises the alarm once, and knows the duplicates after a restart", async () => {
    const watch = await duplicated();
    expect(await asks(watch, A1, true)).toBe("duplicate");
    expect(alarms).toEqual(["berlin: A1 C"]);
    expect(watch.isDuplicate("berlin")).toBe(true);
    const again = await opened();
    expect(again.isDuplicate("berlin")).toBe(true);
    expect(await asks(again, A1)).toBe("duplicate");
    expect(alarms).toHaveLength(1);
  });

  it("lets no later start in beside a present holder, and lets it in when the holder has gone", async () => {
    const watch = await opened();
    expect(await asks(watch, A1)).toBe("taken");
    seconds += 100;
    expect(await asks(watch, A2, true)).toBe("wait");
    expect(await asks(watch, A2, false)).toBe("taken");
    expect(alarms).toEqual([]);
  });
});

describe("the key of a subject", () => {
  it("is held for 20 s from our start, from each sign of its agent, and from when it was given", async () => {
    const watch = await opened(A1);
    expect(watch.keyHold("berlin")).toEqual({ kind: "held", forMs: 20_000 });
    expect(watch.keyHold("paris")).toEqual({ kind: "held", forMs: 20_000 });
    seconds += 19;
    expect(watch.keyHold("berlin")).toEqual({ kind: "held", forMs: 1_000 });
    expect(watch.keyRefusal("berlin")).toMatchObject({
      reason: "UNAVAILABLE",
      message: expect.stringContaining("until 1970-01-01T00:00:20.000Z (1 s)"),
    });
    expect(await watch.reports("berlin")).toBe("taken");
    watch.keyUsed("paris");
    seconds += 19;
    expect(watch.keyHold("berlin").kind).toBe("held");
    expect(watch.keyHold("paris").kind).toBe("held");
    seconds += 1;
    expect(watch.keyRefusal("berlin")).toBeUndefined();
    expect(watch.keyHold("paris")).toEqual({ kind: "free" });
    expect(await asks(watch, A1)).toBe("taken");
    expect(watch.keyHold("berlin").kind).toBe("held");
  });

  it("is nobody's by waiting once there were two, after a pick and over our restart too", async () => {
    const watch = await duplicated();
    seconds += 1_000;
    expect(watch.keyHold("berlin")).toEqual({ kind: "contested" });
    await watch.pick("berlin", { instanceId: "A1" });
    seconds += 1_000;
    expect(watch.keyHold("berlin")).toEqual({ kind: "contested" });
    const again = await opened(A1);
    seconds += 1_000;
    expect(again.keyRefusal("berlin")).toMatchObject({
      reason: "PERMISSION_DENIED",
      message: expect.stringContaining("berth token create --cluster berlin"),
    });
    await again.forget("berlin");
    expect(again.keyHold("berlin").kind).toBe("free");
  });
});

describe("forgetting a subject", () => {
  it("frees it from its duplicates at once, and after a restart", async () => {
    const watch = await duplicated();
    await watch.forget("berlin");
    expect(watch.isDuplicate("berlin")).toBe(false);
    expect(watch.view("berlin")).toEqual({ state: "clear", candidates: [] });
    expect(await stored()).toEqual([]);
    expect((await opened()).isDuplicate("berlin")).toBe(false);
    expect(await asks(watch, SAME_BOOT_COPY)).toBe("taken");
  });

  it("frees it from an operator's pick", async () => {
    const watch = await duplicated();
    await watch.pick("berlin", { instanceId: "A1" });
    expect(await asks(watch, SAME_BOOT_COPY)).toBe("refused");
    await watch.forget("berlin");
    expect(await asks(watch, SAME_BOOT_COPY)).toBe("taken");
    expect(await stored()).toEqual([]);
  });

  it("frees it from the holder that the store knew", async () => {
    const watch = await opened(A1);
    expect(watch.isHeld("berlin")).toBe(true);
    expect(await asks(watch, FRESH_STATE)).toBe("wait");
    await watch.forget("berlin");
    expect(watch.isHeld("berlin")).toBe(false);
    expect(await asks(watch, FRESH_STATE)).toBe("taken");
  });

  it("leaves nothing in the store when duplicates are found at the same moment", async () => {
    const watch = await overlapping();
    const forgotten = watch.forget("berlin");
    const [verdict] = await Promise.all([asks(watch, SAME_BOOT_COPY, true), forgotten]);
    expect(verdict).toBe("duplicate");
    expect(watch.isDuplicate("berlin")).toBe(false);
    expect(await stored()).toEqual([]);
  });

  it("does nothing to others, or when nobody knows it", async () => {
    const watch = await duplicated();
    await watch.forget("paris");
    expect(watch.isDuplicate("berlin")).toBe(true);
    expect(await stored()).toHaveLength(1);
  });

  it("keeps the duplicates when the store fails", async () => {
    const watch = await duplicated();
    const apply = store.apply.bind(store);
    store.apply = () => Promise.reject(new Error("disk full"));
    await expect(watch.forget("berlin")).rejects.toThrow("disk full");
    expect(watch.isDuplicate("berlin")).toBe(true);
    store.apply = apply;
    await watch.forget("berlin");
    expect(await stored()).toEqual([]);
  });
});
