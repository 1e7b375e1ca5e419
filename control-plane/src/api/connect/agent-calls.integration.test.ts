import { silentLogger } from "@berth/service-kit";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { AgentApi, FleetBlocks } from "../../fleet/agent-api.ts";
import { AgentCalls } from "../../fleet/agent-calls.ts";
import { AgentBlocks } from "../../fleet/fleet-blocks.ts";
import { entry, type TestAgent } from "../../testing/agents.ts";
import { useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const LONG = { timeoutMs: 60_000 };
const REQUEST = { method: "POST", path: "/executeAction", bodyJson: '{"token":"secret","n":1.0}' };
const CALL = { ...REQUEST, method: "POST" } as const;

const link = useLinkServer();
let api: AgentApi;
let blocks: FleetBlocks;

beforeEach(() => {
  const { commands, sessions } = link.server;
  api = new AgentCalls(commands);
  const clock = { nowMs: () => link.server.nowMs, timestamp: () => new Date().toISOString() };
  blocks = new AgentBlocks({
    clusters: sessions.clusters,
    orgId: ORG,
    clock,
    logger: silentLogger,
  });
});

/** Registers and gives the first order of a new Commands stream. */
async function firstOrder(agent: TestAgent) {
  const { sessionId } = await agent.register();
  const { value } = await agent.commands(sessionId).next();
  return { sessionId, command: value?.command };
}

const pending = () =>
  vi.waitFor(async () => {
    const [record] = await link.server.commands.list({ limit: 1 });
    expect(record?.state).toBe("pending");
  });

describe("a call to an agent", () => {
  it("goes as an order, and gives the status and the body as the agent wrote it", async () => {
    await link.agent.register();
    const called = api.call("c1", CALL, LONG);
    const { command, sessionId } = await firstOrder(link.agent);
    expect(command?.order).toMatchObject({ case: "call", value: REQUEST });
    const resultJson = '{"status":409,"body":{"big":12345678901234567890,"ten":10.0}}';
    await link.agent.complete(sessionId, command?.commandId ?? "", resultJson);
    expect(await called).toEqual({
      status: 409,
      bodyJson: '{"big":12345678901234567890,"ten":10.0}',
    });
  });

  it("keeps nothing of bodies once it is answered or expired", async () => {
    await link.agent.register();
    const called = api.call("c1", CALL, LONG);
    const { command, sessionId } = await firstOrder(link.agent);
    const id = command?.commandId ?? "";
    expect(JSON.stringify(await link.server.commands.get(id))).toContain("secret");
    await link.agent.complete(sessionId, id, '{"status":200,"body":{"key":"secret"}}');
    await called;
    const record = await link.server.commands.get(id);
    expect(JSON.stringify(record)).not.toContain("secret");
    expect(record).toMatchObject({
      order: { kind: "call", method: "POST", path: "/executeAction", bodyBytes: 26, bodyJson: "" },
      answer: { kind: "completed", resultJson: '{"status":200,"bytes":38}' },
    });
    await expect(api.call("c1", CALL, { timeoutMs: 20 })).rejects.toMatchObject({
      reason: "DEADLINE_EXCEEDED",
      message: expect.stringMatching(/^cluster c1 did not answer within 20 ms/),
    });
    const stored = await link.server.commands.list({ limit: 10 });
    expect(stored.map(({ state }) => state)).toEqual(["expired", "completed"]);
    expect(JSON.stringify(stored)).not.toContain("secret");
  });

  it("to a cluster without an agent is refused, and to one that is away waits for it", async () => {
    await expect(api.call("nobody", CALL, LONG)).rejects.toMatchObject({ reason: "NOT_FOUND" });
    const state = await link.agent.join();
    state.end();
    link.server.sessions.lose("c1", "silent");
    const called = api.call("c1", CALL, LONG);
    await pending();
    const { command, sessionId } = await firstOrder(link.agent);
    await link.agent.complete(sessionId, command?.commandId ?? "", '{"status":200,"body":null}');
    expect(await called).toEqual({ status: 200, bodyJson: "null" });
  });

  it("is offered again under its id when the agent comes back, and waits for nobody who went away", async () => {
    await link.agent.register();
    const gone = new AbortController();
    const called = api.call("c1", CALL, { ...LONG, signal: gone.signal });
    const first = await firstOrder(link.agent);
    const again = await firstOrder(link.agent);
    expect(again.command?.commandId).toBe(first.command?.commandId);
    gone.abort();
    await expect(called).rejects.toMatchObject({ reason: "CANCELED" });
  });

  it("rejects with what the agent refuses the order for, and with what is no answer", async () => {
    await link.agent.register();
    const refused = expect(api.call("c1", CALL, LONG)).rejects.toMatchObject({
      reason: "CONFLICT",
      message: "cluster c1 refused: nobody knows whether it ran",
    });
    const { command, sessionId } = await firstOrder(link.agent);
    const refusal = { reason: "CONFLICT", message: "nobody knows whether it ran" };
    const outcome = { case: "refusal", value: refusal } as const;
    const { client, headers } = link.agent;
    await client.complete({ sessionId, commandId: command?.commandId ?? "", outcome }, { headers });
    await refused;
    for (const resultJson of ["5", "{}", '{"status":"x","body":1}', '{"status":200}']) {
      const called = expect(api.call("c1", CALL, LONG)).rejects.toMatchObject({
        reason: "UNAVAILABLE",
      });
      const next = await firstOrder(link.agent);
      await link.agent.complete(next.sessionId, next.command?.commandId ?? "", resultJson);
      await called;
    }
  });

  it("with a body that no agent takes is not sent", async () => {
    await link.agent.register();
    const bodyJson = `"${"x".repeat(1024 * 1024)}"`;
    await expect(api.call("c1", { ...CALL, bodyJson }, LONG)).rejects.toMatchObject({
      reason: "PAYLOAD_TOO_LARGE",
    });
    expect(await link.server.commands.list({ limit: 1 })).toEqual([]);
  });

  it("leaves the cluster behind until its ledger tells of what the answer did", async () => {
    const state = await link.agent.join();
    const ledger = { state: "open", generation: 1, revision: "5" };
    state.send({ entries: [entry("ledger", 2, ledger)] });
    await state.answer();
    expect(blocks.of("c1")?.isBehind).toBe(false);
    const called = api.call("c1", CALL, LONG);
    await pending();
    const orders = link.agent.commands(state.sessionId);
    const { value } = await orders.next();
    const outcome = { case: "resultJson", value: '{"status":201,"body":{}}' } as const;
    const commandId = value?.command?.commandId ?? "";
    const { client, headers } = link.agent;
    const done = { sessionId: state.sessionId, commandId, outcome, ledgerRevision: 6n };
    await client.complete(done, { headers });
    await called;
    expect(blocks.of("c1")?.isBehind).toBe(true);
    state.send({ entries: [entry("ledger", 3, { ...ledger, revision: "6" })] });
    await state.answer();
    expect(blocks.of("c1")?.isBehind).toBe(false);
  });
});
