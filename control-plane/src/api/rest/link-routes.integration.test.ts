import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createHttpServer, loopbackAuthenticator, silentLogger } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TestAgent } from "../../testing/agents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";
import { clusterRoutes } from "./cluster-routes.ts";
import { commandRoutes } from "./command-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { fleetRoutes } from "./fleet-routes.ts";

let directory: string;
let link: LinkServer;
let rest: FastifyInstance;
let agent: TestAgent;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-link-routes-"));
  link = new LinkServer(directory);
  await link.start();
  agent = new TestAgent(link.url);
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator(ORG),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  clusterRoutes(rest, link.registry());
  commandRoutes(rest, link.commands);
  eventRoutes(rest, link.events);
  fleetRoutes(rest, link.adoption);
});
afterEach(async () => {
  agent.close();
  await rest.close();
  await link.stop();
  rmSync(directory, { recursive: true });
});

const headers = { host: "127.0.0.1" };

async function get(url: string) {
  const answer = await rest.inject({ method: "GET", url, headers });
  return { status: answer.statusCode, text: answer.body, body: answer.json() };
}

async function post(url: string, payload: object) {
  const answer = await rest.inject({ method: "POST", url, headers, payload });
  return { status: answer.statusCode, text: answer.body, body: answer.json() };
}

/** Joins, and answers every order with this JSON. */
async function answering(resultJson: string): Promise<void> {
  const { sessionId } = await agent.join();
  const orders = agent.commands(sessionId);
  const loop = async (): Promise<void> => {
    for (;;) {
      const { value, done } = await orders.next();
      if (done === true) return;
      await agent.complete(sessionId, value.command?.commandId ?? "", resultJson);
    }
  };
  // Ends with the test's connection.
  loop().catch(() => undefined);
}

describe("POST /clusters/<id>/ping", () => {
  it("answers with the agent's result, its numbers as they were written", async () => {
    await answering('{"text":"hi","runs":1,"exact":9223372036854775809}');
    const { status, text, body } = await post("/clusters/c1/ping", { text: "hi" });
    expect(status).toBe(200);
    expect(body.data).toMatchObject({
      command_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      round_trip_ms: expect.any(Number),
    });
    expect(text).toContain('"result":{"text":"hi","runs":1,"exact":9223372036854775809}');
    const command = await get(`/commands/${body.data.command_id}`);
    expect(command.body.data).toMatchObject({ state: "completed", cluster_id: "c1", late: false });
  });

  it("passes the time on that the agent shall hold its answer", async () => {
    const { sessionId } = await agent.join();
    const orders = agent.commands(sessionId);
    const pinged = post("/clusters/c1/ping", { text: "hi", hold_ms: 1_500 });
    const { value } = await orders.next();
    expect(value?.command?.order.value).toMatchObject({ text: "hi", holdMs: 1_500 });
    const id = value?.command?.commandId ?? "";
    await agent.complete(sessionId, id);
    expect((await pinged).status).toBe(200);
    const { body } = await get(`/commands/${id}`);
    expect(body.data.order).toEqual({ kind: "echo", text: "hi", hold_ms: 1_500 });
  });

  it("names the command when the agent does not answer in time", async () => {
    await agent.join();
    const { status, body } = await post("/clusters/c1/ping", { timeout_ms: 20 });
    expect({ status, reason: body.reason }).toEqual({ status: 504, reason: "DEADLINE_EXCEEDED" });
    const list = await get("/commands?cluster_id=c1&state=expired");
    expect(list.body.data).toMatchObject([{ command_id: body.command_id, result: null }]);
  });

  it.each([
    ["/clusters/nobody/ping", {}, 404, "nobody has no agent"],
    ["/clusters/c1/ping", { text: "é".repeat(513) }, 400, "text: expected at most 1024 bytes"],
    ["/clusters/c1/ping", { text: 1 }, 400, "text: expected string, got number"],
    ["/clusters/c1/ping", { timeout_ms: 0 }, 400, "timeout_ms: "],
    ["/clusters/c1/ping", { hold_ms: 60_001 }, 400, "hold_ms: "],
    ["/clusters/c1/ping", { hold_ms: -1 }, 400, "hold_ms: "],
    ["/clusters/c1/ping", { hold_ms: "1" }, 400, "hold_ms: "],
    ["/clusters/c1/ping", { extra: 1 }, 400, "extra: unknown field"],
  ])("refuses %s %j by name", async (url, body, status, message) => {
    const answer = await post(url, body);
    expect(answer).toMatchObject({ status, body: { success: false } });
    expect(answer.body.message).toContain(message);
  });
});

describe("DELETE /clusters/<id>", () => {
  const remove = async (url: string) => {
    const answer = await rest.inject({ method: "DELETE", url, headers });
    return { status: answer.statusCode, body: answer.json() };
  };

  it("cuts a connected agent off with ?force=true only", async () => {
    const state = await agent.join();
    const refused = await remove("/clusters/c1");
    expect(refused.body).toMatchObject({ success: false, reason: "PRECONDITION_FAILED" });
    expect(refused.body.message).toContain("?force=true");
    const done = await remove("/clusters/c1?force=true");
    expect(done).toEqual({ status: 200, body: { message: "Cluster deleted" } });
    await expect(state.answer()).rejects.toThrow("removed");
    expect(link.forgotten).toEqual(["c1"]);
  });

  it.each([
    ["/clusters/c1?force=yes", 400, "force: "],
    ["/clusters/c1?hard=true", 400, "hard: unknown field"],
    ["/clusters/by-hand?force=false", 404, "not found"],
  ])("answers %s with %d and the reason", async (url, status, message) => {
    const answer = await remove(url);
    expect(answer.status).toBe(status);
    expect(answer.body.message).toContain(message);
  });
});

describe("GET /commands and /events", () => {
  it.each([
    ["/commands?state=lost", 400, "state: expected"],
    ["/commands?limit=0", 400, "limit: expected"],
    ["/commands?limit=1&limit=2", 400, "limit: expected string, got array"],
    ["/commands?cluster=c1", 400, "cluster: unknown field"],
    ["/commands/nothing", 404, "no command nothing"],
    ["/events?before=x", 400, "before: "],
    ["/events?limit=1001", 400, "limit: expected"],
  ])("answers %s with %d and the field", async (url, status, message) => {
    const answer = await get(url);
    expect(answer).toMatchObject({ status, body: { success: false } });
    expect(answer.body.message).toContain(message);
  });

  it("lists the events of the links, and pages on", async () => {
    await agent.register();
    await agent.register();
    await vi.waitFor(async () => expect((await get("/events")).body.data).toHaveLength(2));
    const [newest, oldest] = (await get("/events?cluster_id=c1&kind=agent_connected")).body.data;
    expect(newest).toMatchObject({ seq: 2, key: "cluster/c1", facts: { agent_incarnation: 1 } });
    expect((await get("/events?before=2&limit=1")).body.data).toEqual([oldest]);
    expect((await get("/events?cluster_id=c2")).body.data).toEqual([]);
  });
});

describe("/fleet", () => {
  it("shows who obeys, and adopts", async () => {
    await agent.join({ knownStoreId: "another", knownControllerTerm: 3n });
    const before = (await get("/fleet")).body.data;
    expect(before).toMatchObject({ controller_term: 1, restored: null, adopted_store_ids: [] });
    expect(before.agents).toMatchObject([
      { cluster_id: "c1", mode: "observe", known_store_id: "another", connected: true },
    ]);
    const plan = await post("/fleet/adopt", { dry_run: true });
    expect(plan.body.data).toMatchObject({ dry_run: true, adopted: ["another"] });
    const done = await post("/fleet/adopt", {});
    expect(done.body.data).toMatchObject({ renewed: false, store_id: before.store_id });
    expect((await get("/fleet")).body.data.adopted_store_ids).toEqual(["another"]);
  });

  it.each([
    [{ store_ids: "x" }, "store_ids: expected array, got string"],
    [{ store_ids: ["a b"] }, "store_ids.0: "],
    [{ force: true }, "force: unknown field"],
    [{ store_ids: Array.from({ length: 101 }, (_none, n) => `s${n}`) }, "store_ids: "],
  ])("refuses %j by name", async (body, message) => {
    const answer = await post("/fleet/adopt", body);
    expect(answer.status).toBe(400);
    expect(answer.body.message).toContain(message);
  });
});
