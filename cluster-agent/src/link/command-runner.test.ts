import { type Command, CommandSchema } from "@berth/proto";
import { type DocumentStore, openSqliteDocumentStore, silentLogger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HandClock, until } from "../testing/fixtures.ts";
import { JOURNAL_LIMITS, type JournalLimits, openCommandJournal } from "./command-journal.ts";
import { CommandRunner } from "./command-runner.ts";
import type { Authority } from "./fence.ts";
import type { OrderHandler } from "./order-handler.ts";
import { openOrderHandlers } from "./order-handlers.ts";

const FENCE = { storeId: "s1", controllerTerm: 3n, termId: "t3" };
const OBEYS: Authority = { mode: "obey", known: FENCE };
const NO_API = async () => ({ status: 404, bodyJson: "" });
const never = new AbortController().signal;

let store: DocumentStore;
beforeEach(() => {
  store = openSqliteDocumentStore(":memory:", new HandClock());
});
afterEach(() => store.close());

async function runner(handler?: OrderHandler, limits?: JournalLimits): Promise<CommandRunner> {
  const clock = new HandClock();
  const journal = await openCommandJournal({
    store,
    orgId: "o",
    clock,
    limits: limits ?? JOURNAL_LIMITS,
  });
  const handlers =
    handler === undefined
      ? await openOrderHandlers({ store, orgId: "o", api: NO_API })
      : new Map([["echo", handler]]);
  const ledgerRevision = () => 7n;
  const made = new CommandRunner({
    ...{ journal, handlers, ledgerRevision, clock, logger: silentLogger },
  });
  await made.resume();
  return made;
}

interface Overrides {
  readonly fence?: typeof FENCE;
  readonly targetRevision?: bigint;
  readonly timeoutMs?: number;
  /** null: an order of a kind that this version does not know. */
  readonly text?: string | null;
}

function echo(commandId: string, overrides: Overrides = {}): Command {
  const { fence = FENCE, targetRevision = 0n, timeoutMs = 10_000, text = "hi" } = overrides;
  const order = text === null ? {} : { order: { case: "echo" as const, value: { text } } };
  return create(CommandSchema, { commandId, fence, targetRevision, timeoutMs, ...order });
}

/** Gives a command and acknowledges its answer. */
async function answerOf(commands: CommandRunner, command: Command, authority = OBEYS) {
  await commands.take(command, authority, { signal: never });
  const completion = await commands.nextCompletion(AbortSignal.timeout(5_000));
  await commands.acknowledged(completion?.commandId ?? "");
  return completion;
}

/** Has a process begin a command and never come to its result, as if it were killed while it holds. */
async function crashedInside(commandId: string): Promise<void> {
  const acted = Promise.withResolvers<void>();
  const echoes = (await openOrderHandlers({ store, orgId: "o", api: NO_API })).get("echo");
  const hanging = await runner(async (order, context) => {
    await echoes?.(order, context);
    acted.resolve();
    return new Promise(() => undefined);
  });
  await hanging.take(echo(commandId), OBEYS, { signal: never });
  await acted.promise;
}

const refusal = (reason: string) => ({ result: { kind: "refusal", reason } });
const ONCE = { result: { kind: "result", json: '{"text":"hi","runs":1}' } };

describe("CommandRunner", () => {
  it("carries an order out and gives its result with the ledger revision", async () => {
    const commands = await runner();
    expect(await answerOf(commands, echo("c1"))).toMatchObject({ ...ONCE, ledgerRevision: 7n });
  });

  it("gives the same result again without acting, in this process and in the next", async () => {
    await answerOf(await runner(), echo("c1"));
    const next = await runner();
    expect(await answerOf(next, echo("c1"))).toMatchObject(ONCE);
    expect(await answerOf(next, echo("c1"))).toMatchObject(ONCE);
  });

  it("runs an order once that is offered many times at once", async () => {
    const commands = await runner();
    await Promise.all(
      Array.from({ length: 20 }, () => commands.take(echo("c1"), OBEYS, { signal: never })),
    );
    const completion = await commands.nextCompletion(AbortSignal.timeout(5_000));
    expect(completion).toMatchObject(ONCE);
    await commands.acknowledged("c1");
    expect(await commands.nextCompletion(AbortSignal.timeout(50))).toBeUndefined();
  });

  it("keeps giving out a result until it is acknowledged, over restarts too", async () => {
    const first = await runner();
    await first.take(echo("c1"), OBEYS, { signal: never });
    expect(await first.nextCompletion(AbortSignal.timeout(5_000))).toMatchObject(ONCE);
    const second = await runner();
    expect(await second.nextCompletion(AbortSignal.timeout(5_000))).toMatchObject(ONCE);
    await second.acknowledged("c1");
    const third = await runner();
    expect(await third.nextCompletion(AbortSignal.timeout(50))).toBeUndefined();
  });

  it("goes on after a crash between the record and the result, and says so to the handler", async () => {
    await crashedInside("c1");
    const seen: boolean[] = [];
    const next = await runner(async (order, context) => {
      seen.push(context.resumed);
      const handlers = await openOrderHandlers({ store, orgId: "o", api: NO_API });
      return (await handlers.get("echo")?.(order, context)) ?? { ...nothing };
    });
    expect(await next.nextCompletion(AbortSignal.timeout(5_000))).toMatchObject(ONCE);
    expect(seen).toEqual([true]);
    expect(await answerOf(await runner(), echo("c1"))).toMatchObject(ONCE);
  });

  it("runs an order once that was cut off in its hold, though it is offered again", async () => {
    await crashedInside("c1");
    const next = await runner();
    expect(await answerOf(next, echo("c1"))).toMatchObject(ONCE);
  });

  it("would show it if an order that was cut off in its hold ran twice", async () => {
    await crashedInside("c1");
    await store.apply([{ kind: "delete", key: { orgId: "o", collection: "commands", id: "c1" } }]);
    const forgetful = await runner();
    expect(await answerOf(forgetful, echo("c1"))).toMatchObject({
      result: { kind: "result", json: '{"text":"hi","runs":2}' },
    });
  });

  it.each<[string, Overrides, Authority, string]>([
    ["observes", {}, { mode: "observe", known: FENCE }, "PRECONDITION_FAILED"],
    [
      "does not know the store",
      { fence: { ...FENCE, storeId: "x" } },
      OBEYS,
      "PRECONDITION_FAILED",
    ],
    ["has seen a newer term", { fence: { ...FENCE, controllerTerm: 2n } }, OBEYS, "CONFLICT"],
    ["is at another ledger revision", { targetRevision: 6n }, OBEYS, "CONFLICT"],
    ["does not know the order", { text: null }, OBEYS, "UNIMPLEMENTED"],
    ["has no time left", { timeoutMs: 0 }, OBEYS, "DEADLINE_EXCEEDED"],
  ])("refuses an order when it %s, and carries it out once that has changed", async (...row) => {
    const [, overrides, authority, reason] = row;
    const commands = await runner();
    const refused = await answerOf(commands, echo("c1", overrides), authority);
    expect(refused).toMatchObject(refusal(reason));
    expect(await answerOf(commands, echo("c1", { targetRevision: 7n }))).toMatchObject(ONCE);
  });

  it("refuses an echo that is too long, for good", async () => {
    const long = echo("c1", { text: "x".repeat(1_025) });
    expect(await answerOf(await runner(), long)).toMatchObject(refusal("INVALID_ARGUMENT"));
  });

  it("answers with a refusal when the handler fails", async () => {
    const commands = await runner(async () => {
      throw new Error("broken");
    });
    expect(await answerOf(commands, echo("c1"))).toMatchObject(refusal("INTERNAL"));
  });

  it("gives a known result though it only observes by now", async () => {
    const commands = await runner();
    await answerOf(commands, echo("c1"));
    const again = await answerOf(commands, echo("c1"), { mode: "observe", known: FENCE });
    expect(again).toMatchObject(ONCE);
  });

  it("runs a bounded number at once; the rest wait until one is over", async () => {
    const gate = Promise.withResolvers<void>();
    let running = 0;
    let most = 0;
    const commands = await runner(async () => {
      running += 1;
      most = Math.max(most, running);
      await gate.promise;
      running -= 1;
      return nothing;
    });
    const takes = Array.from({ length: 20 }, (_none, n) =>
      commands.take(echo(`c${n}`), OBEYS, { signal: never }),
    );
    await until("eight run", () => running === 8);
    gate.resolve();
    await Promise.all(takes);
    await until("all are over", () => running === 0);
    expect(most).toBe(8);
  });

  it("refuses orders when its memory is full of results that nobody acknowledged", async () => {
    const commands = await runner(undefined, { kept: 2, keptMs: 1_000 });
    for (const id of ["c1", "c2", "c3"]) await commands.take(echo(id), OBEYS, { signal: never });
    const answers: unknown[] = [];
    for (let n = 0; n < 3; n += 1) {
      const completion = await commands.nextCompletion(AbortSignal.timeout(5_000));
      answers.push(completion?.result.kind);
      await commands.acknowledged(completion?.commandId ?? "");
    }
    expect(answers.sort()).toEqual(["refusal", "result", "result"]);
    expect(await answerOf(commands, echo("c4"))).toMatchObject(ONCE);
  });

  it("stops its handlers, and waits for them", async () => {
    let aborted = false;
    const commands = await runner(async (_order, { signal }) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      aborted = true;
      return nothing;
    });
    await commands.take(echo("c1"), OBEYS, { signal: never });
    await until(
      "it runs",
      async () => (await store.list({ orgId: "o", collection: "commands" })).length > 0,
    );
    await commands.stop();
    expect(aborted).toBe(true);
    // It has come to its result all the same: that is kept.
    const next = await runner();
    const completion = await next.nextCompletion(AbortSignal.timeout(5_000));
    expect(completion?.result).toEqual({ kind: "result", json: "null" });
  });

  it("gives no result out while the agent only observes, but refusals of what it is asked meanwhile", async () => {
    const commands = await runner();
    await commands.take(echo("done"), OBEYS, { signal: never });
    await commands.nextCompletion(AbortSignal.timeout(5_000));
    commands.observing = true;
    expect(await commands.nextCompletion(AbortSignal.timeout(30))).toBeUndefined();
    const other = { ...FENCE, storeId: "another" };
    const observes: Authority = { mode: "observe", known: FENCE };
    await commands.take(echo("asked", { fence: other }), observes, { signal: never });
    const refused = await commands.nextCompletion(AbortSignal.timeout(5_000));
    expect(refused).toMatchObject({
      commandId: "asked",
      result: { kind: "refusal", reason: "PRECONDITION_FAILED" },
    });
    await commands.acknowledged("asked");
    expect(await commands.nextCompletion(AbortSignal.timeout(30))).toBeUndefined();
    const waiting = commands.nextCompletion(AbortSignal.timeout(5_000));
    commands.observing = false;
    expect(await waiting).toMatchObject({ commandId: "done", result: { kind: "result" } });
    await commands.stop();
  });
});

const nothing = { kind: "result", json: "null", memory: {} } as const;
