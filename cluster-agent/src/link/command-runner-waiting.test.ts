import { type Command, CommandSchema } from "@berth/proto";
import { type DocumentStore, openSqliteDocumentStore, silentLogger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HandClock, until } from "../testing/fixtures.ts";
import { openCommandJournal } from "./command-journal.ts";
import { CommandRunner } from "./command-runner.ts";
import type { Authority } from "./fence.ts";

const FENCE = { storeId: "s1", controllerTerm: 3n, termId: "t3" };
const OBEYS: Authority = { mode: "obey", known: FENCE };
const never = new AbortController().signal;

let store: DocumentStore;
let clock: HandClock;
let commands: CommandRunner;
let acted: string[];
/** Lets those that run come to their end. */
let gate: PromiseWithResolvers<void>;

beforeEach(async () => {
  clock = new HandClock();
  store = openSqliteDocumentStore(":memory:", clock);
  acted = [];
  gate = Promise.withResolvers();
  const journal = await openCommandJournal({ store, orgId: "o", clock });
  const handlers = new Map([
    [
      "echo",
      async (_order: Command["order"], { commandId }: { readonly commandId: string }) => {
        acted.push(commandId);
        await gate.promise;
        return { kind: "result", json: "null", memory: {} } as const;
      },
    ],
  ]);
  const ledgerRevision = () => 1n;
  commands = new CommandRunner({ journal, handlers, ledgerRevision, clock, logger: silentLogger });
  for (let n = 0; n < 8; n += 1) await take(`busy${n}`);
  await until("eight run", () => acted.length === 8);
});
afterEach(async () => {
  gate.resolve();
  await commands.stop();
  await store.close();
});

function take(
  commandId: string,
  { timeoutMs = 10_000, authority = OBEYS, signal = never, onRecorded = async () => {} } = {},
): Promise<void> {
  const order = { case: "echo", value: { text: "hi" } } as const;
  const command = create(CommandSchema, { commandId, fence: FENCE, timeoutMs, order });
  return commands.take(command, authority, { signal, onRecorded });
}

const recorded = (id: string) => store.get({ orgId: "o", collection: "commands", id });

/** The answer to a command; those before it are acknowledged. */
async function answerTo(commandId: string) {
  for (;;) {
    const completion = await commands.nextCompletion(AbortSignal.timeout(5_000));
    if (completion === undefined) throw new Error(`no answer to ${commandId}`);
    await commands.acknowledged(completion.commandId);
    if (completion.commandId === commandId) return completion.result;
  }
}

describe("an order that waits for its turn", () => {
  it("is taken at once, and refused without being begun when its time is over before", async () => {
    await take("late", { timeoutMs: 3_000 });
    await take("in time", { timeoutMs: 3_001 });
    clock.advance(3_000);
    gate.resolve();
    expect(await answerTo("late")).toMatchObject({
      kind: "refusal",
      reason: "DEADLINE_EXCEEDED",
      message: expect.stringContaining("3000 ms were over before its turn came"),
    });
    expect(await answerTo("in time")).toMatchObject({ kind: "result" });
    expect(acted).not.toContain("late");
  });

  it("is recorded before it is told as recorded, and told before it is begun", async () => {
    const told = Promise.withResolvers<void>();
    let isRecorded = false;
    const onRecorded = async () => {
      isRecorded = (await recorded("order")) !== undefined;
      await told.promise;
    };
    const taken = take("order", { onRecorded });
    gate.resolve();
    await until("the others are over", async () => (await commands.nextCompletion(never)) !== null);
    await until("it is recorded", () => isRecorded);
    expect(acted).not.toContain("order");
    told.resolve();
    await taken;
    expect(await answerTo("order")).toMatchObject({ kind: "result" });
  });

  it("is told in the order of the stream, one after the other", async () => {
    const told: string[] = [];
    const onRecorded = (id: string) => async () => {
      told.push(id);
    };
    await Promise.all(["a", "b", "c"].map((id) => take(id, { onRecorded: onRecorded(id) })));
    expect(told).toEqual(["a", "b", "c"]);
  });

  it("is carried out once though another session offers it again meanwhile", async () => {
    const session = new AbortController();
    await take("order", { signal: session.signal });
    session.abort();
    await take("order");
    gate.resolve();
    expect(await answerTo("order")).toMatchObject({ kind: "result" });
    expect(acted.filter((id) => id === "order")).toEqual(["order"]);
  });

  it("holds up the stream only beyond a bound", async () => {
    for (let n = 0; n < 1_000; n += 1) await take(`waiting${n}`);
    const session = new AbortController();
    let isTaken = false;
    const beyond = take("beyond", { signal: session.signal }).then(() => {
      isTaken = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isTaken).toBe(false);
    session.abort();
    await beyond;
    expect(acted).toHaveLength(8);
  });
});
