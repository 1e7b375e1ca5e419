import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, it, vi } from "vitest";
import { OTHER_INSTANCE, type TestAgent } from "../../testing/agents.ts";
import { ECHO, hasCode, useLinkServer } from "../../testing/link-fixture.ts";

const LONG = { timeoutMs: 60_000 };

const link = useLinkServer();

afterEach(() => {
  vi.useRealTimers();
});

/** Registers and gives the first order of a new Commands stream. */
async function firstOrder(agent: TestAgent, overrides: Parameters<TestAgent["register"]>[0] = {}) {
  const { sessionId } = await agent.register(overrides);
  const orders = agent.commands(sessionId);
  const { value } = await orders.next();
  return { sessionId, orders, command: value?.command };
}

const states = async () =>
  (await link.server.commands.list({ limit: 100 })).map(({ state }) => state);

describe("Commands", () => {
  it("offers an order with its fence and time, and gives the answer to who waits for it", async () => {
    const agent = link.newAgent();
    await agent.register();
    const sent = link.server.commands.send("c1", ECHO, LONG);
    const { command, sessionId } = await firstOrder(agent);
    expect(command).toMatchObject({
      commandId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      fence: { ...link.server.stores.fence, agentIncarnation: 1n },
      targetRevision: 0n,
      order: { case: "echo", value: { text: "hi" } },
    });
    expect(command?.timeoutMs).toBeGreaterThan(50_000);
    await agent.complete(sessionId, command?.commandId ?? "");
    expect(await sent).toMatchObject({ kind: "completed", resultJson: '{"text":"hi","runs":1}' });
    const record = await link.server.commands.get(command?.commandId ?? "");
    expect(record).toMatchObject({ state: "completed", clusterId: "c1", order: ECHO });
  });

  it("is durable before it is offered: the next process offers it again under the same id", async () => {
    await link.newAgent().register();
    const waiting = link.server.commands.send("c1", ECHO, LONG);
    await vi.waitFor(async () => expect(await states()).toEqual(["pending"]));
    const [record] = await link.server.commands.list({ limit: 1 });
    await link.server.stop();
    expect(await waiting).toMatchObject({ kind: "abandoned" });
    await link.server.start();
    const agent = link.newAgent();
    const { command, sessionId } = await firstOrder(agent);
    expect(command?.commandId).toBe(record?.commandId);
    expect(command?.fence?.controllerTerm).toBe(2n);
    expect(command?.timeoutMs).toBeLessThanOrEqual(60_000);
    await agent.complete(sessionId, command?.commandId ?? "");
    expect(await states()).toEqual(["completed"]);
  });

  it("offers it again on each new stream until it is answered, then no more", async () => {
    const agent = link.newAgent();
    await agent.register();
    const sent = link.server.commands.send("c1", ECHO, LONG);
    const first = await firstOrder(agent);
    const second = await firstOrder(agent);
    expect(second.command?.commandId).toBe(first.command?.commandId);
    await expect(first.orders.next()).rejects.toSatisfy(hasCode(Code.Aborted));
    await agent.complete(second.sessionId, second.command?.commandId ?? "");
    await sent;
    const next = link.server.commands.send("c1", { kind: "echo", text: "next", holdMs: 0 }, LONG);
    const third = await firstOrder(agent);
    expect(third.command?.order.value).toMatchObject({ text: "next" });
    await agent.complete(third.sessionId, third.command?.commandId ?? "");
    await next;
  });

  it("takes an answer once, from the cluster that the command is for only", async () => {
    const agent = link.newAgent();
    await agent.register();
    void link.server.commands.send("c1", ECHO, LONG);
    const { command, sessionId } = await firstOrder(agent);
    const id = command?.commandId ?? "";
    const thief = link.newAgent("c2");
    const theirs = await thief.register();
    await expect(thief.complete(theirs.sessionId, id)).rejects.toSatisfy(
      hasCode(Code.PermissionDenied),
    );
    await agent.complete(sessionId, id, '{"n":1}');
    await agent.complete(sessionId, id, '{"n":2}');
    expect((await link.server.commands.get(id)).answer).toMatchObject({ resultJson: '{"n":1}' });
    const unknown = agent.complete(sessionId, "no-such-command");
    await expect(unknown).rejects.toSatisfy(hasCode(Code.NotFound));
    await expect(agent.complete(sessionId, id, "{")).rejects.toThrow("result_json");
  });

  it("tells who waits when the time is over, and records an answer that comes later", async () => {
    const agent = link.newAgent();
    const { sessionId } = await agent.register();
    const outcome = await link.server.commands.send("c1", ECHO, { timeoutMs: 20 });
    expect(outcome.kind).toBe("expired");
    expect(await states()).toEqual(["expired"]);
    await agent.complete(sessionId, outcome.commandId);
    expect(await link.server.commands.get(outcome.commandId)).toMatchObject({
      state: "completed",
      isLate: true,
    });
  });

  it("lets go of who stops waiting, and keeps the order valid", async () => {
    await link.newAgent().register();
    const stop = new AbortController();
    const waiting = link.server.commands.send("c1", ECHO, { ...LONG, signal: stop.signal });
    await vi.waitFor(async () => expect(await states()).toEqual(["pending"]));
    stop.abort();
    expect((await waiting).kind).toBe("abandoned");
    expect(await states()).toEqual(["pending"]);
  });

  it("refuses orders to unknown clusters, without time, and beyond the bound", async () => {
    await expect(link.server.commands.send("nobody", ECHO, LONG)).rejects.toThrow("has no agent");
    await link.newAgent().register();
    await expect(link.server.commands.send("c1", ECHO, { timeoutMs: 0 })).rejects.toThrow(
      "timeout_ms",
    );
    const many = Array.from({ length: 1_001 }, () => link.server.commands.send("c1", ECHO, LONG));
    await expect(many[1_000]).rejects.toMatchObject({ reason: "OVERLOADED" });
    await vi.waitFor(async () => {
      expect(await link.server.commands.list({ state: "pending", limit: 1_000 })).toHaveLength(
        1_000,
      );
    });
  });

  it("refuses what an agent may have carried out before its memory was restored from an older copy", async () => {
    await link.newAgent().register({ agentIncarnation: 5n });
    const sent = link.server.commands.send("c1", ECHO, LONG);
    await vi.waitFor(async () => expect(await states()).toEqual(["pending"]));
    link.server.nowMs = 10_001;
    link.server.sessions.expire();
    const restored = link.newAgent();
    const registered = await restored.register({
      agentIncarnation: 4n,
      agentInstanceId: OTHER_INSTANCE,
    });
    expect(await sent).toMatchObject({ kind: "refused", reason: "CONFLICT" });
    const next = link.server.commands.send("c1", { kind: "echo", text: "new", holdMs: 0 }, LONG);
    const { value } = await restored.commands(registered.sessionId).next();
    expect(value?.command?.order.value).toMatchObject({ text: "new" });
    await restored.complete(registered.sessionId, value?.command?.commandId ?? "");
    await next;
  });

  it("forgets answered commands beyond the bounds, never those without an answer", async () => {
    const agent = link.newAgent();
    const { sessionId } = await agent.register();
    void link.server.commands.send("c1", ECHO, LONG);
    const done = await link.server.commands.send("c1", ECHO, { timeoutMs: 1 });
    await agent.complete(sessionId, done.commandId);
    await link.server.commands.prune();
    expect(await states()).toHaveLength(2);
    vi.setSystemTime(Date.now() + 8 * 24 * 3_600_000);
    await link.server.commands.prune();
    expect(await states()).toEqual(["pending"]);
  });
});
