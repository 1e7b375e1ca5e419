import { type DocumentStore, openSqliteDocumentStore, silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyStore } from "../testing/faulty-store.ts";
import { HandClock, until } from "../testing/fixtures.ts";
import { type Outbox, openOutbox } from "./outbox.ts";
import { OUTBOX_LIMITS, type OutboxLimits } from "./outbox-index.ts";

let clock: HandClock;
let behind: DocumentStore;
let store: FaultyStore;

beforeEach(() => {
  clock = new HandClock();
  behind = openSqliteDocumentStore(":memory:", clock);
  store = new FaultyStore(behind);
});
afterEach(() => behind.close());

const open = (limits: Partial<OutboxLimits> = {}) =>
  openOutbox({
    store,
    orgId: "o",
    clock,
    logger: silentLogger,
    limits: { ...OUTBOX_LIMITS, ...limits },
  });

const event = (kind: string, key: string, n = 0) => ({ kind, key, facts: { n } });

async function drain(outbox: Outbox): Promise<[string, string, unknown][]> {
  const all: [string, string, unknown][] = [];
  for (;;) {
    const batch = await outbox.nextBatch();
    if (batch === undefined) return all;
    all.push(...batch.events.map((e): [string, string, unknown] => [e.kind, e.key, parse(e.json)]));
    await outbox.forget(batch);
  }
}

const parse = (json: string): unknown => JSON.parse(json);

describe("Outbox", () => {
  it("gives events in order and forgets them once they are acknowledged", async () => {
    const outbox = await open();
    for (const kind of ["a", "b", "c"]) await outbox.add(event(kind, "k"));
    expect((await drain(outbox)).map(([kind]) => kind)).toEqual(["a", "b", "c"]);
    expect(outbox.size).toBe(0);
    expect((await open()).size).toBe(0);
  });

  it("keeps of one kind and key only the newest that was not sent yet, at the end", async () => {
    const outbox = await open();
    await outbox.add(event("a", "node/1", 1));
    await outbox.add(event("a", "node/2", 2));
    await outbox.add(event("b", "node/1", 3));
    await outbox.add(event("a", "node/1", 4));
    expect(await drain(outbox)).toEqual([
      ["a", "node/2", { n: 2 }],
      ["b", "node/1", { n: 3 }],
      ["a", "node/1", { n: 4 }],
    ]);
  });

  it("does not touch what is on its way, and sends it again under the same id when the stream breaks", async () => {
    const outbox = await open();
    await outbox.add(event("a", "k", 1));
    const first = await outbox.nextBatch();
    await outbox.add(event("a", "k", 2));
    expect((await outbox.nextBatch())?.events).toMatchObject([{ json: '{"n":2}' }]);
    expect(await outbox.nextBatch()).toBeUndefined();
    outbox.rewind();
    const again = await outbox.nextBatch();
    expect(again?.events.map((e) => e.json)).toEqual(['{"n":1}', '{"n":2}']);
    expect(again?.events[0]?.eventId).toBe(first?.events[0]?.eventId);
  });

  it("sends after a restart what was not acknowledged, with its age", async () => {
    const outbox = await open();
    await outbox.add(event("a", "k", 1));
    await outbox.nextBatch();
    clock.advance(5_000);
    expect((await (await open()).nextBatch())?.events).toMatchObject([{ json: '{"n":1}' }]);
    outbox.rewind();
    expect((await outbox.nextBatch())?.events).toMatchObject([{ ageMs: 5_000 }]);
  });

  it("drops the oldest when it is full, and tells how many of which kind, once", async () => {
    const outbox = await open({ events: 4 });
    for (let n = 0; n < 10; n += 1) await outbox.add(event(n % 2 ? "odd" : "even", `k${n}`, n));
    const all = await drain(outbox);
    const told = all.filter(([kind]) => kind === "events_dropped");
    const kept = all.filter(([kind]) => kind !== "events_dropped").map(([, key]) => key);
    expect(told).toHaveLength(1);
    const [, key, facts] = told[0] ?? [];
    expect(key).toBe("outbox");
    const { total, kinds } = facts as { total: number; kinds: Record<string, number> };
    expect(total).toBe(10 - kept.length);
    expect((kinds.odd ?? 0) + (kinds.even ?? 0)).toBe(total);
    expect(kept).toEqual(["k7", "k8", "k9"].slice(-kept.length));
  });

  it("drops by size, and what is too old", async () => {
    const outbox = await open({ characters: 100, ageMs: 1_000 });
    await outbox.add({ kind: "big", key: "a", facts: { text: "x".repeat(60) } });
    await outbox.add({ kind: "big", key: "b", facts: { text: "x".repeat(60) } });
    clock.advance(2_000);
    await outbox.add(event("small", "c"));
    expect(await drain(outbox)).toEqual([
      ["small", "c", { n: 0 }],
      ["events_dropped", "outbox", { total: 2, kinds: { big: 2 } }],
    ]);
  });

  it("counts drops over a restart together", async () => {
    const first = await open({ events: 2 });
    for (let n = 0; n < 3; n += 1) await first.add(event("a", `k${n}`));
    const second = await open({ events: 2 });
    for (let n = 3; n < 5; n += 1) await second.add(event("a", `k${n}`));
    const all = await drain(second);
    const facts = all.find(([kind]) => kind === "events_dropped")?.[2] as { total: number };
    expect(facts.total + all.filter(([kind]) => kind === "a").length).toBe(5);
  });

  it("keeps events that many tell at once, each once", async () => {
    const outbox = await open();
    await Promise.all(Array.from({ length: 700 }, (_none, n) => outbox.add(event("a", `k${n}`))));
    const batch = await outbox.nextBatch();
    expect(batch?.events).toHaveLength(500);
    expect((await outbox.nextBatch())?.events).toHaveLength(200);
  });

  it("counts as dropped what comes while too many wait for the store", async () => {
    const outbox = await open();
    const adds = Array.from({ length: 1_200 }, (_none, n) => outbox.add(event("a", `k${n}`)));
    await Promise.all(adds);
    const all = await drain(outbox);
    const facts = all.find(([kind]) => kind === "events_dropped")?.[2];
    expect(facts).toEqual({ total: 200, kinds: { a: 200 } });
    expect(all.filter(([kind]) => kind === "a")).toHaveLength(1_000);
  });

  it("counts events that a full disk does not take as dropped", async () => {
    const outbox = await open();
    store.isFull = true;
    outbox.tell(event("lost", "k"));
    await until("it was refused", () => store.refusals === 1);
    store.isFull = false;
    await outbox.add(event("a", "k"));
    expect(await drain(outbox)).toEqual([
      ["a", "k", { n: 0 }],
      ["events_dropped", "outbox", { total: 1, kinds: { lost: 1 } }],
    ]);
  });

  it("goes on when a full disk does not let it forget, and forgets with the next batch", async () => {
    const outbox = await open();
    for (const key of ["k1", "k2"]) await outbox.add(event("a", key));
    store.isFull = true;
    expect(await drain(outbox)).toHaveLength(2);
    expect(await outbox.nextBatch()).toBeUndefined();
    expect(outbox.size).toBe(2);
    store.isFull = false;
    await outbox.add(event("b", "k"));
    expect(await drain(outbox)).toEqual([["b", "k", { n: 0 }]]);
    expect(outbox.size).toBe(0);
    expect((await open()).size).toBe(0);
  });

  it("sends on the next stream what a full disk did not let it forget", async () => {
    const outbox = await open();
    await outbox.add(event("a", "k"));
    store.isFull = true;
    await drain(outbox);
    outbox.rewind();
    store.isFull = false;
    expect(await drain(outbox)).toHaveLength(1);
    expect(outbox.size).toBe(0);
  });

  it.each([
    [{ kind: "Bad Kind", key: "k", facts: {} }, "kind: "],
    [{ kind: "a", key: "k".repeat(513), facts: {} }, "key: "],
    [{ kind: "a", key: "k", facts: { x: "x".repeat(70_000) } }, "facts: "],
  ])("refuses an event that the control-plane would not take: %#", async (bad, field) => {
    const outbox = await open();
    await expect(outbox.add(bad)).rejects.toThrow(field);
    expect(outbox.size).toBe(0);
  });
});
