import { CommandSchema } from "@berth/proto";
import { type DocumentStore, openSqliteDocumentStore, silentLogger } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HandClock, until } from "../testing/fixtures.ts";
import { openCommandJournal } from "./command-journal.ts";
import { CommandRunner } from "./command-runner.ts";
import type { OrderHandler } from "./order-handler.ts";

const FENCE = { storeId: "s1", controllerTerm: 3n, termId: "t3" };
const never = new AbortController().signal;

let store: DocumentStore;
let commands: CommandRunner;
let begun: string[];
/** Lets those that run come to their end. */
let gate: PromiseWithResolvers<void>;

beforeEach(async () => {
  const clock = new HandClock();
  store = openSqliteDocumentStore(":memory:", clock);
  begun = [];
  gate = Promise.withResolvers();
  const handler: OrderHandler = async (_order, { commandId }) => {
    begun.push(commandId);
    await gate.promise;
    return { kind: "result", json: "null", memory: {} };
  };
  commands = new CommandRunner({
    journal: await openCommandJournal({ store, orgId: "o", clock }),
    handlers: new Map([["call", handler]]),
    ledgerRevision: () => 1n,
    ...{ clock, logger: silentLogger },
  });
});
afterEach(async () => {
  gate.resolve();
  await commands.stop();
  await store.close();
});

async function take(
  commandId: string,
  method: string,
  path: string,
  body: object = {},
): Promise<void> {
  const bodyJson = JSON.stringify(body);
  const order = { case: "call", value: { method, path, bodyJson } } as const;
  const command = create(CommandSchema, { commandId, fence: FENCE, timeoutMs: 10_000, order });
  await commands.take(command, { mode: "obey", known: FENCE }, { signal: never });
}

const ids = (name: string, count: number) => Array.from({ length: count }, (_none, n) => name + n);

describe("the lanes of orders", () => {
  it("let reads and leases pass actions whose policies take their time, which keep their order", async () => {
    for (const id of ids("action", 11)) await take(id, "POST", "/executeAction");
    await take("read", "GET", "/cluster-actions/get-cluster");
    await take("lease", "POST", "/leases");
    await take("renewal", "POST", "/leases/l1/renew");
    await take("release", "DELETE", "/leases/l1");
    const quick = ["read", "lease", "renewal", "release"];
    await until("the quick ones are begun", () => quick.every((id) => begun.includes(id)));
    expect(begun).toEqual([...ids("action", 8), ...quick]);
    gate.resolve();
    await until("all are begun", () => begun.length === 15);
    expect(begun.slice(12)).toEqual(["action8", "action9", "action10"]);
  });

  it("let an action pass dry runs whose policies take their time, of which eight run", async () => {
    const dryRun = { action: "dry_run" };
    for (const id of ids("trial", 9)) await take(id, "POST", "/executeAction", dryRun);
    await take("action", "POST", "/executeAction", { action: "remove_block" });
    await until("the action is begun", () => begun.includes("action"));
    expect(begun).toEqual([...ids("trial", 8), "action"]);
  });

  it("let an action pass reads that take their time, of which eight run", async () => {
    for (const id of ids("read", 9)) await take(id, "GET", "/blocks");
    await take("action", "POST", "/executeAction");
    await until("the action is begun", () => begun.includes("action"));
    expect(begun).toEqual([...ids("read", 8), "action"]);
  });
});
