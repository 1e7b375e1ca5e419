import { CommandSchema } from "@berth/proto";
import { type DocumentStore, openSqliteDocumentStore, silentLogger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FaultyStore } from "../testing/faulty-store.ts";
import { HandClock, until } from "../testing/fixtures.ts";
import { JOURNAL_LIMITS, type JournalLimits, openCommandJournal } from "./command-journal.ts";
import { CommandRunner } from "./command-runner.ts";
import type { Authority } from "./fence.ts";
import type { OrderHandler } from "./order-handler.ts";

const FENCE = { storeId: "s1", controllerTerm: 3n, termId: "t3" };
const OBEYS: Authority = { mode: "obey", known: FENCE };
const never = new AbortController().signal;

let behind: DocumentStore;
let store: FaultyStore;
/** Times that the handler acted, by how it was called. */
let acts: { first: number; resumed: number };

beforeEach(() => {
  behind = openSqliteDocumentStore(":memory:", new HandClock());
  store = new FaultyStore(behind);
  acts = { first: 0, resumed: 0 };
});
afterEach(() => behind.close());

const act: OrderHandler = async (_order, { resumed }) => {
  acts[resumed ? "resumed" : "first"] += 1;
  return { kind: "result", json: '"done"', memory: {} };
};

async function runner(
  options: { handler?: OrderHandler; limits?: JournalLimits; capMs?: number } = {},
): Promise<CommandRunner> {
  const { handler = act, limits = JOURNAL_LIMITS, capMs = 10 } = options;
  const clock = new HandClock();
  const commands = new CommandRunner({
    journal: await openCommandJournal({ store, orgId: "o", clock, limits }),
    handlers: new Map([["echo", handler]]),
    ledgerRevision: () => 0n,
    clock,
    logger: silentLogger,
    storeRetry: { firstMs: Math.min(2, capMs), capMs },
  });
  await commands.resume();
  return commands;
}

function offer(commands: CommandRunner, commandId: string): Promise<void> {
  const order = { case: "echo", value: { text: "hi" } } as const;
  const command = create(CommandSchema, { commandId, fence: FENCE, timeoutMs: 10_000, order });
  return commands.take(command, OBEYS, { signal: never });
}

async function answer(commands: CommandRunner) {
  const completion = await commands.nextCompletion(AbortSignal.timeout(5_000));
  await commands.acknowledged(completion?.commandId ?? "");
  return completion;
}

const DONE = { result: { kind: "result", json: '"done"' } };

describe("a CommandRunner whose disk is full", () => {
  it("refuses what it cannot record, does nothing, and carries it out once it can", async () => {
    const commands = await runner();
    store.isFull = true;
    await offer(commands, "c1");
    const refused = await answer(commands);
    expect(refused?.result).toMatchObject({ kind: "refusal", reason: "UNAVAILABLE" });
    expect(refused?.result).toMatchObject({
      message: expect.stringMatching(
        /^the agent cannot record the command: .*full; nothing was done$/,
      ),
    });
    expect(acts).toEqual({ first: 0, resumed: 0 });
    store.isFull = false;
    await offer(commands, "c1");
    expect(await answer(commands)).toMatchObject({ commandId: "c1", ...DONE });
    expect(acts).toEqual({ first: 1, resumed: 0 });
  });

  it("has nothing of a refused command to go on with in its next process", async () => {
    const commands = await runner();
    store.isFull = true;
    await offer(commands, "c1");
    await answer(commands);
    await commands.stop();
    store.isFull = false;
    const next = await runner();
    expect(await next.nextCompletion(AbortSignal.timeout(50))).toBeUndefined();
    expect(acts).toEqual({ first: 0, resumed: 0 });
  });

  it("keeps the result of a handler that has acted until the disk takes it", async () => {
    const commands = await runner({
      handler: async (order, context) => {
        store.isFull = true;
        return act(order, context);
      },
    });
    await offer(commands, "c1");
    await until("it was tried often", () => store.refusals > 5);
    await offer(commands, "c1");
    expect(await commands.nextCompletion(AbortSignal.timeout(20))).toBeUndefined();
    store.isFull = false;
    expect(await answer(commands)).toMatchObject({ commandId: "c1", ...DONE });
    expect(acts).toEqual({ first: 1, resumed: 0 });
  });

  it("counts commands that wait for the disk among those that run", async () => {
    const gate = Promise.withResolvers<void>();
    const commands = await runner({
      handler: async (order, context) => {
        const outcome = await act(order, context);
        await gate.promise;
        return outcome;
      },
    });
    for (let n = 0; n < 9; n += 1) await offer(commands, `c${n}`);
    await until("eight have acted", () => acts.first === 8);
    store.isFull = true;
    gate.resolve();
    await until("the disk was asked again", () => store.refusals > 20);
    expect(acts.first).toBe(8);
    await commands.stop();
    expect(acts.first).toBe(8);
  });

  it("goes on as resumed when it ends before the disk took the result", async () => {
    const commands = await runner({
      capMs: 60_000,
      handler: async (order, context) => {
        store.isFull = true;
        return act(order, context);
      },
    });
    await offer(commands, "c1");
    await until("it has acted", () => store.refusals > 0);
    await commands.stop();
    store.isFull = false;
    const next = await runner();
    expect(await answer(next)).toMatchObject({ commandId: "c1", ...DONE });
    expect(acts).toEqual({ first: 1, resumed: 1 });
  });

  it("lets other answers pass one whose acknowledgement cannot be written, and writes it later", async () => {
    const commands = await runner();
    await offer(commands, "c1");
    const first = await commands.nextCompletion(AbortSignal.timeout(5_000));
    store.isFull = true;
    await commands.acknowledged(first?.commandId ?? "");
    await offer(commands, "c2");
    expect(await answer(commands)).toMatchObject({ commandId: "c2", result: { kind: "refusal" } });
    store.isFull = false;
    const isAcknowledged = async () => {
      const key = { orgId: "o", collection: "commands", id: "c1" };
      return (await behind.get<{ isAcknowledged: boolean }>(key))?.body.isAcknowledged === true;
    };
    await until("it is written", isAcknowledged);
    await commands.stop();
    const next = await runner();
    expect(await next.nextCompletion(AbortSignal.timeout(50))).toBeUndefined();
  });

  it("stops while acknowledgements wait", async () => {
    const commands = await runner({ capMs: 60_000 });
    await offer(commands, "c1");
    const first = await commands.nextCompletion(AbortSignal.timeout(5_000));
    store.isFull = true;
    await commands.acknowledged(first?.commandId ?? "");
    await commands.stop();
    store.isFull = false;
    const next = await runner();
    expect(await answer(next)).toMatchObject({ commandId: "c1", ...DONE });
  });

  it("still knows the old results that it could not remove", async () => {
    const commands = await runner({ limits: { kept: 2, keptMs: 1_000_000 } });
    for (const id of ["c1", "c2"]) {
      await offer(commands, id);
      await answer(commands);
    }
    store.isFull = true;
    await offer(commands, "c3");
    expect(await answer(commands)).toMatchObject({ result: { reason: "UNAVAILABLE" } });
    store.isFull = false;
    await offer(commands, "c1");
    expect(await answer(commands)).toMatchObject({ commandId: "c1", ...DONE });
    expect(acts.first).toBe(2);
  });
});

describe("a CommandRunner whose store cannot be read", () => {
  it("does not refuse what it may have carried out: it answers once it can read", async () => {
    const commands = await runner();
    await offer(commands, "c1");
    await answer(commands);
    store.isUnreadable = true;
    void offer(commands, "c1");
    expect(await commands.nextCompletion(AbortSignal.timeout(30))).toBeUndefined();
    store.isUnreadable = false;
    expect(await answer(commands)).toMatchObject({ commandId: "c1", ...DONE });
    expect(acts).toEqual({ first: 1, resumed: 0 });
  });
});
