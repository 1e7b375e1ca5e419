import { type Command, CommandSchema } from "@berth/proto";
import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyStore } from "../testing/faulty-store.ts";
import { HandClock } from "../testing/fixtures.ts";
import { openOrderHandlers } from "./order-handlers.ts";

const NO_API = async () => ({ status: 404, bodyJson: "" });

let behind: DocumentStore;
let store: FaultyStore;
beforeEach(() => {
  behind = openSqliteDocumentStore(":memory:", new HandClock());
  store = new FaultyStore(behind);
});
afterEach(() => behind.close());

const order = (value: { text?: string; holdMs?: number }): Command["order"] =>
  create(CommandSchema, { order: { case: "echo", value } }).order;

/** Carries an Echo out as a process does that has just opened its store. */
async function carryOut(
  value: { text?: string; holdMs?: number },
  context: { resumed?: boolean; signal?: AbortSignal } = {},
) {
  const echo = (await openOrderHandlers({ store, orgId: "o", api: NO_API })).get("echo");
  if (echo === undefined) throw new Error("no handler of echo");
  const { resumed = false, signal = new AbortController().signal } = context;
  const fence = { storeId: "s1", controllerTerm: "1" };
  const given = { commandId: "c1", resumed, memory: {}, signal, fence, timeLeftMs: 10_000 };
  return echo(order(value), given);
}

const answer = (runs: number) => ({ kind: "result", json: `{"text":"hi","runs":${runs}}` });
const runsOf = async () =>
  (await behind.get<{ runs: number }>({ orgId: "o", collection: "command_runs", id: "c1" }))?.body
    .runs;

describe("an Echo", () => {
  it("counts each time that it is carried out, over processes", async () => {
    expect(await carryOut({ text: "hi" })).toMatchObject(answer(1));
    expect(await carryOut({ text: "hi" })).toMatchObject(answer(2));
  });

  it("is not counted again when it goes on after its record", async () => {
    await carryOut({ text: "hi" });
    expect(await carryOut({ text: "hi" }, { resumed: true })).toMatchObject(answer(1));
  });

  it("is counted when it goes on after a crash before its record", async () => {
    expect(await carryOut({ text: "hi" }, { resumed: true })).toMatchObject(answer(1));
  });

  it("is recorded before it waits, and answers only then", async () => {
    const begunMs = performance.now();
    let isAnswered = false;
    const held = carryOut({ text: "hi", holdMs: 300 }).finally(() => {
      isAnswered = true;
    });
    await expect.poll(runsOf).toBe(1);
    expect(isAnswered).toBe(false);
    expect(await held).toMatchObject(answer(1));
    expect(performance.now() - begunMs).toBeGreaterThanOrEqual(299);
  });

  it("ends its wait when its time is over, and answers that it has run", async () => {
    const held = carryOut({ text: "hi", holdMs: 60_000 }, { signal: AbortSignal.timeout(20) });
    expect(await held).toMatchObject(answer(1));
  });

  it("is left to the next start when the agent stops during its wait", async () => {
    const stop = new AbortController();
    const held = carryOut({ text: "hi", holdMs: 60_000 }, { signal: stop.signal });
    await expect.poll(runsOf).toBe(1);
    stop.abort();
    await expect(held).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    expect(await carryOut({ text: "hi" }, { resumed: true })).toMatchObject(answer(1));
  });

  it.each([
    ["whose text is too long", { text: "x".repeat(1_025) }, "echo.text"],
    ["whose wait is too long", { text: "hi", holdMs: 60_001 }, "echo.hold_ms"],
  ])("%s is refused, and not counted", async (_what, value, field) => {
    expect(await carryOut(value)).toMatchObject({
      kind: "refusal",
      reason: "INVALID_ARGUMENT",
      message: expect.stringContaining(field),
    });
    expect(await runsOf()).toBeUndefined();
  });

  it("fails when its run cannot be written", async () => {
    store.isFull = true;
    await expect(carryOut({ text: "hi" })).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    store.isFull = false;
    expect(await carryOut({ text: "hi" })).toMatchObject(answer(1));
  });
});
