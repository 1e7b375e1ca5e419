import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TestAgent } from "../../testing/agents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";

const ECHO = { kind: "echo", text: "hi" } as const;

let directory: string;
let server: LinkServer;
let agents: TestAgent[];

function newAgent(clusterId = "c1"): TestAgent {
  const agent = new TestAgent(server.url, clusterId);
  agents.push(agent);
  return agent;
}

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-adoption-"));
  server = new LinkServer(directory);
  agents = [];
  await server.start();
});
afterEach(async () => {
  for (const agent of agents) agent.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

const status = () => server.adoption.status(ORG);
const modes = () => status().agents.map(({ clusterId, mode }) => `${clusterId} ${mode}`);

/** Puts an older copy of the store back: the process's later writes are lost. */
function restore(copy: string): void {
  for (const end of ["", "-wal", "-shm"]) rmSync(`${server.file}${end}`, { force: true });
  copyFileSync(copy, server.file);
}

/** What an agent knows after it was answered. */
async function knownBy(agent: TestAgent, overrides: Parameters<TestAgent["register"]>[0] = {}) {
  const { fence } = await agent.register(overrides);
  return { knownStoreId: fence?.storeId ?? "", knownControllerTerm: fence?.controllerTerm ?? 0n };
}

describe("an agent that obeys another store", () => {
  const OTHER = { knownStoreId: "another-store", knownControllerTerm: 7n };

  it("is shown, told as an event, and obeys once its store is adopted, over a restart too", async () => {
    await newAgent("c2").join();
    const agent = newAgent();
    const state = await agent.join(OTHER);
    expect(modes()).toEqual(["c1 observe", "c2 obey"]);
    expect(status().agents[0]).toMatchObject({ connected: true, knownStoreId: "another-store" });
    await vi.waitFor(async () => {
      const events = await server.events.list({ kind: "store_unknown_to_agent", limit: 10 });
      expect(events.map(({ clusterId }) => clusterId)).toEqual(["c1"]);
    });
    const before = status().storeId;
    const plan = await server.adoption.adopt(ORG, { dryRun: true });
    expect(plan).toMatchObject({ dryRun: true, renewed: false, adopted: ["another-store"] });
    expect(status().adoptedStoreIds).toEqual([]);
    const done = await server.adoption.adopt(ORG, { dryRun: false });
    expect(done.agents.map(({ clusterId }) => clusterId)).toEqual(["c1"]);
    await expect(state.answer()).rejects.toThrow("register again");
    const answer = await agent.register(OTHER);
    expect(answer.adoptedStoreIds).toEqual(["another-store"]);
    expect(answer.fence?.storeId).toBe(before);
    expect(modes()).toEqual(["c1 obey", "c2 obey"]);
    expect((await server.adoption.adopt(ORG, { dryRun: false })).adopted).toEqual([]);
    await server.stop();
    await server.start();
    expect((await newAgent().register(OTHER)).adoptedStoreIds).toEqual(["another-store"]);
    expect(modes()).toEqual(["c1 obey"]);
  });

  it("goes on observing while an operator adopts only the stores that were named", async () => {
    await newAgent().join(OTHER);
    const report = await server.adoption.adopt(ORG, { dryRun: false, storeIds: ["third"] });
    expect(report).toMatchObject({ adopted: ["third"], agents: [] });
    expect(modes()).toEqual(["c1 observe"]);
  });
});

describe("a store that was restored from an older copy", () => {
  it("is found by a newer term, gives no orders, and becomes one of its own by an adoption", async () => {
    const first = status().storeId;
    await server.stop();
    const copy = path.join(directory, "copy.db");
    copyFileSync(server.file, copy);
    await server.start();
    await server.stop();
    await server.start();
    const known = await knownBy(newAgent());
    expect(known).toEqual({ knownStoreId: first, knownControllerTerm: 3n });
    await server.stop();
    restore(copy);
    await server.start();
    const agent = newAgent();
    await agent.join(known);
    expect(modes()).toEqual(["c1 observe"]);
    expect(status().restored).toMatchObject({ clusterId: "c1", knownTerm: "3" });
    const order = server.commands.send("c1", ECHO, { timeoutMs: 1_000 });
    await expect(order).rejects.toMatchObject({ reason: "PRECONDITION_FAILED" });
    const report = await server.adoption.adopt(ORG, { dryRun: false });
    expect(report).toMatchObject({ renewed: true, formerStoreId: first, adopted: [first] });
    const answer = await agent.register(known);
    expect(answer.fence?.storeId).toBe(report.storeId);
    expect(report.storeId).not.toBe(first);
    expect(answer.adoptedStoreIds).toContain(first);
    expect(modes()).toEqual(["c1 obey"]);
    expect(status().restored).toBeUndefined();
  });

  it("is found when it has come to the very term that agents know, and remembered over its restarts", async () => {
    await server.stop();
    const copy = path.join(directory, "copy.db");
    copyFileSync(server.file, copy);
    await server.start();
    const known = await knownBy(newAgent());
    expect(known.knownControllerTerm).toBe(2n);
    await server.stop();
    restore(copy);
    await server.start();
    const agent = newAgent();
    const answer = await agent.register(known);
    expect(answer.fence).toMatchObject({ controllerTerm: 2n });
    expect(modes()).toEqual(["c1 observe"]);
    await server.stop();
    await server.start();
    // By now the term is higher than any that an agent knows, yet the store is not trusted.
    expect(status().controllerTerm).toBe(3n);
    const order = server.commands.send("c1", ECHO, { timeoutMs: 1_000 });
    await expect(order).rejects.toThrow("`berth fleet adopt`");
  });

  it("does not take a reconnect for it", async () => {
    const agent = newAgent();
    const known = await knownBy(agent);
    await agent.register(known);
    await newAgent("c2").register();
    await agent.register(known);
    expect(status().restored).toBeUndefined();
    expect(modes()).toEqual(["c1 obey", "c2 obey"]);
  });

  it("refuses the orders that the former store gave and nobody answered", async () => {
    const agent = newAgent();
    const known = await knownBy(agent);
    const waiting = server.commands.send("c1", ECHO, { timeoutMs: 60_000 });
    await vi.waitFor(async () => {
      expect(await server.commands.list({ state: "pending", limit: 1 })).toHaveLength(1);
    });
    const newer = { ...known, knownControllerTerm: 9n };
    await agent.register(newer);
    await server.adoption.adopt(ORG, { dryRun: false });
    const { sessionId } = await agent.register(newer);
    const orders = agent.commands(sessionId);
    const next = orders.next();
    expect(await waiting).toMatchObject({ kind: "refused", reason: "PRECONDITION_FAILED" });
    agent.close();
    await expect(next).rejects.toBeDefined();
  });
});
