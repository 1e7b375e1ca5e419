import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { OTHER_INSTANCE, TestAgent } from "../../testing/agents.ts";
import { LinkServer } from "../../testing/link-server.ts";

const ECHO = { kind: "echo", text: "hi", holdMs: 0 } as const;
const LONG = { timeoutMs: 60_000 };

let directory: string;
let server: LinkServer;
let agents: TestAgent[];

function newAgent(clusterId = "c1"): TestAgent {
  const agent = new TestAgent(server.url, clusterId);
  agents.push(agent);
  return agent;
}

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-commands-"));
  server = new LinkServer(directory);
  agents = [];
  await server.start();
});
afterEach(async () => {
  vi.useRealTimers();
  for (const agent of agents) agent.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

const hasCode = (code: Code) => (thrown: unknown) =>
  thrown instanceof ConnectError && thrown.code === code;

/** Registers and gives the first order of a new Commands stream. */
async function firstOrder(agent: TestAgent, overrides: Parameters<TestAgent["register"]>[0] = {}) {
  const { sessionId } = await agent.register(overrides);
  const orders = agent.commands(sessionId);
  const { value } = await orders.next();
  return { sessionId, orders, command: value?.command };
}

const states = async () => (await server.commands.list({ limit: 100 })).map(({ state }) => state);

describe("Commands", () => {
  it("offers an order with its fence and time, and gives the answer to who waits for it", async () => {
    const agent = newAgent();
    await agent.register();
    const sent = server.commands.send("c1", ECHO, LONG);
    const { command, sessionId } = await firstOrder(agent);
    expect(command).toMatchObject({
      commandId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      fence: { ...server.stores.fence, agentIncarnation: 1n },
      targetRevision: 0n,
      order: { case: "echo", value: { text: "hi" } },
    });
    expect(command?.timeoutMs).toBeGreaterThan(50_000);
    await agent.complete(sessionId, command?.commandId ?? "");
    expect(await sent).toMatchObject({ kind: "completed", resultJson: '{"text":"hi","runs":1}' });
    const record = await server.commands.get(command?.commandId ?? "");
    expect(record).toMatchObject({ state: "completed", clusterId: "c1", order: ECHO });
  });

  it("is durable before it is offered: the next process offers it again under the same id", async () => {
    await newAgent().register();
    const waiting = server.commands.send("c1", ECHO, LONG);
    await vi.waitFor(async () => expect(await states()).toEqual(["pending"]));
    const [record] = await server.commands.list({ limit: 1 });
    await server.stop();
    expect(await waiting).toMatchObject({ kind: "abandoned" });
    await server.start();
    const agent = newAgent();
    const { command, sessionId } = await firstOrder(agent);
    expect(command?.commandId).toBe(record?.commandId);
    expect(command?.fence?.controllerTerm).toBe(2n);
    expect(command?.timeoutMs).toBeLessThanOrEqual(60_000);
    await agent.complete(sessionId, command?.commandId ?? "");
    expect(await states()).toEqual(["completed"]);
  });

  it("offers it again on each new stream until it is answered, then no more", async () => {
    const agent = newAgent();
    await agent.register();
    const sent = server.commands.send("c1", ECHO, LONG);
    const first = await firstOrder(agent);
    const second = await firstOrder(agent);
    expect(second.command?.commandId).toBe(first.command?.commandId);
    await expect(first.orders.next()).rejects.toSatisfy(hasCode(Code.Aborted));
    await agent.complete(second.sessionId, second.command?.commandId ?? "");
    await sent;
    const next = server.commands.send("c1", { kind: "echo", text: "next", holdMs: 0 }, LONG);
    const third = await firstOrder(agent);
    expect(third.command?.order.value).toMatchObject({ text: "next" });
    await agent.complete(third.sessionId, third.command?.commandId ?? "");
    await next;
  });

  it("takes an answer once, from the cluster that the command is for only", async () => {
    const agent = newAgent();
    await agent.register();
    void server.commands.send("c1", ECHO, LONG);
    const { command, sessionId } = await firstOrder(agent);
    const id = command?.commandId ?? "";
    const thief = newAgent("c2");
    const theirs = await thief.register();
    await expect(thief.complete(theirs.sessionId, id)).rejects.toSatisfy(
      hasCode(Code.PermissionDenied),
    );
    await agent.complete(sessionId, id, '{"n":1}');
    await agent.complete(sessionId, id, '{"n":2}');
    expect((await server.commands.get(id)).answer).toMatchObject({ resultJson: '{"n":1}' });
    const unknown = agent.complete(sessionId, "no-such-command");
    await expect(unknown).rejects.toSatisfy(hasCode(Code.NotFound));
    await expect(agent.complete(sessionId, id, "{")).rejects.toThrow("result_json");
  });

  it("tells who waits when the time is over, and records an answer that comes later", async () => {
    const agent = newAgent();
    const { sessionId } = await agent.register();
    const outcome = await server.commands.send("c1", ECHO, { timeoutMs: 20 });
    expect(outcome.kind).toBe("expired");
    expect(await states()).toEqual(["expired"]);
    await agent.complete(sessionId, outcome.commandId);
    expect(await server.commands.get(outcome.commandId)).toMatchObject({
      state: "completed",
      isLate: true,
    });
  });

  it("lets go of who stops waiting, and keeps the order valid", async () => {
    await newAgent().register();
    const stop = new AbortController();
    const waiting = server.commands.send("c1", ECHO, { ...LONG, signal: stop.signal });
    await vi.waitFor(async () => expect(await states()).toEqual(["pending"]));
    stop.abort();
    expect((await waiting).kind).toBe("abandoned");
    expect(await states()).toEqual(["pending"]);
  });

  it("refuses orders to unknown clusters, without time, and beyond the bound", async () => {
    await expect(server.commands.send("nobody", ECHO, LONG)).rejects.toThrow("has no agent");
    await newAgent().register();
    await expect(server.commands.send("c1", ECHO, { timeoutMs: 0 })).rejects.toThrow("timeout_ms");
    const many = Array.from({ length: 1_001 }, () => server.commands.send("c1", ECHO, LONG));
    await expect(many[1_000]).rejects.toMatchObject({ reason: "OVERLOADED" });
    await vi.waitFor(async () => {
      expect(await server.commands.list({ state: "pending", limit: 1_000 })).toHaveLength(1_000);
    });
  });

  it("refuses what an agent may have carried out before its memory was restored from an older copy", async () => {
    await newAgent().register({ agentIncarnation: 5n });
    const sent = server.commands.send("c1", ECHO, LONG);
    await vi.waitFor(async () => expect(await states()).toEqual(["pending"]));
    server.nowMs = 10_001;
    server.sessions.expire();
    const restored = newAgent();
    const registered = await restored.register({
      agentIncarnation: 4n,
      agentInstanceId: OTHER_INSTANCE,
    });
    expect(await sent).toMatchObject({ kind: "refused", reason: "CONFLICT" });
    const next = server.commands.send("c1", { kind: "echo", text: "new", holdMs: 0 }, LONG);
    const { value } = await restored.commands(registered.sessionId).next();
    expect(value?.command?.order.value).toMatchObject({ text: "new" });
    await restored.complete(registered.sessionId, value?.command?.commandId ?? "");
    await next;
  });

  it("forgets answered commands beyond the bounds, never those without an answer", async () => {
    const agent = newAgent();
    const { sessionId } = await agent.register();
    void server.commands.send("c1", ECHO, LONG);
    const done = await server.commands.send("c1", ECHO, { timeoutMs: 1 });
    await agent.complete(sessionId, done.commandId);
    await server.commands.prune();
    expect(await states()).toHaveLength(2);
    vi.setSystemTime(Date.now() + 8 * 24 * 3_600_000);
    await server.commands.prune();
    expect(await states()).toEqual(["pending"]);
  });
});
