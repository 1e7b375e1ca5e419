import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AgentCluster } from "./agent-cluster.ts";
import { type Commands, openCommands } from "./commands.ts";
import type { StoreFence } from "./store-verdict.ts";

const ORG = "default_org";
const LONG = { timeoutMs: 60_000 };
const FENCE = { storeId: "store", controllerTerm: 1n, termId: "term" };

let directory: string;
let store: DocumentStore;
let commands: Commands;
/** Why clusters are given no orders. */
let refusals: Map<string, string>;
let ended: AbortController;
let fence: StoreFence;

beforeEach(async () => {
  fence = FENCE;
  directory = mkdtempSync(path.join(tmpdir(), "berth-orders-"));
  store = openSqliteDocumentStore(path.join(directory, "test.db"), systemClock);
  refusals = new Map();
  ended = new AbortController();
  commands = await openCommands({
    ...{ store, orgId: ORG, clock: systemClock, logger: silentLogger },
    fence: () => fence,
    advance: async () => undefined,
    async beginStretches(count, beside) {
      const fences = Array.from({ length: count }, () => fence);
      await beside(fences);
      return fences;
    },
    refusal: (clusterId) => refusals.get(clusterId),
    knows: async () => true,
  });
});
afterEach(async () => {
  ended.abort();
  commands.close();
  await store.close();
  rmSync(directory, { recursive: true });
});

const echo = (text: string) => ({ kind: "echo", text, holdMs: 0 }) as const;
const sessionOf = (clusterId: string) => ({
  cluster: new AgentCluster(ORG, clusterId),
  signal: ended.signal,
  told: FENCE,
});
const offersOf = (clusterId: string) => commands.offers(sessionOf(clusterId), ended.signal);
const states = async (clusterId: string) =>
  (await commands.list({ clusterId, limit: 100 })).map(({ state }) => state);

/** Gives an order without waiting for its answer, once it is durable. */
async function given(clusterId: string, text: string): Promise<void> {
  const before = (await states(clusterId)).length;
  void commands.send(clusterId, echo(text), LONG);
  await vi.waitFor(async () => expect(await states(clusterId)).toHaveLength(before + 1));
}

describe("Commands of a cluster that is given no orders", () => {
  it("are refused with the reason, those of others are not", async () => {
    refusals.set("c1", "cluster c1 contradicts this store; `berth fleet adopt`");
    await expect(commands.send("c1", echo("x"), LONG)).rejects.toMatchObject({
      reason: "PRECONDITION_FAILED",
      message: "cluster c1 contradicts this store; `berth fleet adopt`",
    });
    expect(await states("c1")).toEqual([]);
    await given("c2", "y");
    expect((await offersOf("c2").next()).value).toMatchObject({ order: echo("y") });
  });

  it("are not offered when they were given before, and again to a session after that", async () => {
    await given("c1", "before");
    refusals.set("c1", "quarantined");
    const stream = offersOf("c1");
    const next = stream.next();
    // The stream has passed over the first order once it takes up another cluster's turn.
    await given("c2", "y");
    expect((await offersOf("c2").next()).value).toMatchObject({ order: echo("y") });
    refusals.delete("c1");
    await given("c1", "after");
    expect((await next).value).toMatchObject({ order: echo("after") });
    expect((await offersOf("c1").next()).value).toMatchObject({ order: echo("before") });
  });

  it("run into their deadline when they were given before", async () => {
    const sent = commands.send("c1", echo("x"), { timeoutMs: 50 });
    await vi.waitFor(async () => expect(await states("c1")).toEqual(["pending"]));
    refusals.set("c1", "quarantined");
    const offered = offersOf("c1").next();
    expect((await sent).kind).toBe("expired");
    ended.abort();
    expect((await offered).done).toBe(true);
  });
});

describe("News of the term", () => {
  const renewed = (termId: string): void => {
    fence = { ...fence, termId };
    commands.tellTerm();
  };

  it("goes to each stream once per change, the newest only", async () => {
    const stream = offersOf("c1");
    const first = stream.next();
    renewed("term 2");
    expect((await first).value).toEqual({ kind: "term", termId: "term 2" });
    renewed("term 3");
    renewed("term 4");
    expect((await stream.next()).value).toEqual({ kind: "term", termId: "term 4" });
    const next = stream.next();
    commands.tellTerm();
    await given("c1", "x");
    expect((await next).value).toMatchObject({ kind: "order", order: echo("x") });
  });

  it("goes with an order when there is one, and is not told again behind it", async () => {
    const stream = offersOf("c1");
    await given("c1", "x");
    fence = { ...fence, termId: "term 2" };
    expect((await stream.next()).value).toMatchObject({ order: echo("x"), fence });
    const next = stream.next();
    commands.tellTerm();
    await given("c1", "y");
    expect((await next).value).toMatchObject({ order: echo("y") });
  });

  it("is told to a stream that was opened after the change, as the agent knows what Register told", async () => {
    fence = { ...fence, termId: "term 2" };
    expect((await offersOf("c1").next()).value).toEqual({ kind: "term", termId: "term 2" });
  });

  it("is not told of a store that got another id than the agent was told", async () => {
    const next = offersOf("c1").next();
    fence = { storeId: "another", controllerTerm: 1n, termId: "term 2" };
    commands.tellTerm();
    ended.abort();
    expect((await next).done).toBe(true);
  });
});

describe("An order that an older version stored", () => {
  it("is offered without a hold", async () => {
    const key = { orgId: ORG, collection: "commands", id: "former" };
    const body = {
      ...{ clusterId: "c1", order: { kind: "echo", text: "x" }, storeId: "store" },
      ...{ state: "pending", timeoutMs: 60_000 },
      deadlineAt: new Date(Date.now() + 60_000).toISOString(),
    };
    await store.apply([{ kind: "insert", key, body }]);
    await commands.load();
    expect((await offersOf("c1").next()).value).toMatchObject({ order: echo("x") });
    expect((await commands.get("former")).order).toEqual(echo("x"));
  });
});

describe("Orders that reached an agent as it died", () => {
  const call = (method: string, path: string, bodyJson = "") =>
    ({ kind: "call", method, path, bodyJson, bodyBytes: bodyJson.length }) as const;
  const read = call("GET", "/blocks");
  const dryRun = call("POST", "/executeAction", '{"action":"dry_run","block_data":{}}');
  const action = call("POST", "/executeAction", '{"action":"remove_block","block_id":"b"}');

  /** Gives three orders that a stream takes. */
  async function offered() {
    const stream = offersOf("c1");
    const sent = [read, dryRun, action].map((order) => commands.send("c1", order, LONG));
    for (const _order of sent) await stream.next();
    return { sent };
  }

  it("are offered again when they change nothing, and refused when nobody knows what they changed", async () => {
    const { sent } = await offered();
    expect(await commands.agentRestored("c1", () => false)).toBe(3);
    expect(await sent[2]).toMatchObject({ kind: "refused", reason: "CONFLICT" });
    const again = offersOf("c1");
    const orders = [await again.next(), await again.next()].map(({ value }) => value);
    expect(orders).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ order: read }),
        expect.objectContaining({ order: dryRun }),
      ]),
    );
  });

  it("are all refused when the cluster is removed", async () => {
    await offered();
    expect(await commands.agentRestored("c1")).toBe(3);
    expect(await states("c1")).toEqual(["refused", "refused", "refused"]);
  });
});

describe("Commands.complete", () => {
  it("refuses a result that is nested so deep that nobody could read it back", async () => {
    await given("c1", "x");
    const [record] = await commands.list({ limit: 1 });
    const complete = (depth: number) => {
      const resultJson = "[".repeat(depth) + "]".repeat(depth);
      const answer = { kind: "completed", resultJson, ledgerRevision: "0" } as const;
      return commands.complete(sessionOf("c1"), record?.commandId ?? "", answer);
    };
    await expect(complete(50_000)).rejects.toThrow("result_json: expected at most 128 levels");
    expect(await states("c1")).toEqual(["pending"]);
    await complete(128);
    expect(await states("c1")).toEqual(["completed"]);
  });
});
