import { copyFileSync, rmSync } from "node:fs";
import path from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { TestAgent } from "../../testing/agents.ts";
import { ECHO, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const link = useLinkServer();

const status = () => link.server.adoption.status(ORG);
const modes = () => status().agents.map(({ clusterId, mode }) => `${clusterId} ${mode}`);

/** Puts an older copy of the store back: the process's later writes are lost. */
function restore(copy: string): void {
  for (const end of ["", "-wal", "-shm"]) rmSync(`${link.server.file}${end}`, { force: true });
  copyFileSync(copy, link.server.file);
}

/** What an agent knows after it was answered. */
async function knownBy(agent: TestAgent, overrides: Parameters<TestAgent["register"]>[0] = {}) {
  const { fence } = await agent.register(overrides);
  return {
    knownStoreId: fence?.storeId ?? "",
    knownControllerTerm: fence?.controllerTerm ?? 0n,
    knownTermId: fence?.termId ?? "",
  };
}

describe("an agent that obeys another store", () => {
  const OTHER = { knownStoreId: "another-store", knownControllerTerm: 7n };

  it("is shown, told as an event, and obeys once its store is adopted, over a restart too", async () => {
    await link.newAgent("c2").join();
    const agent = link.newAgent();
    const state = await agent.join(OTHER);
    expect(modes()).toEqual(["c1 observe", "c2 obey"]);
    expect(status().agents[0]).toMatchObject({ connected: true, knownStoreId: "another-store" });
    await vi.waitFor(async () => {
      const events = await link.server.events.list({ kind: "store_unknown_to_agent", limit: 10 });
      expect(events.map(({ clusterId }) => clusterId)).toEqual(["c1"]);
    });
    const before = status().storeId;
    const plan = await link.server.adoption.adopt(ORG, { dryRun: true });
    expect(plan).toMatchObject({ dryRun: true, renewed: false, adopted: ["another-store"] });
    expect(status().adoptedStoreIds).toEqual([]);
    const done = await link.server.adoption.adopt(ORG, { dryRun: false });
    expect(done.agents.map(({ clusterId }) => clusterId)).toEqual(["c1"]);
    await expect(state.answer()).rejects.toThrow("register again");
    const answer = await agent.register(OTHER);
    expect(answer.adoptedStoreIds).toEqual(["another-store"]);
    expect(answer.fence?.storeId).toBe(before);
    expect(modes()).toEqual(["c1 obey", "c2 obey"]);
    expect((await link.server.adoption.adopt(ORG, { dryRun: false })).adopted).toEqual([]);
    await link.restart();
    expect((await link.newAgent().register(OTHER)).adoptedStoreIds).toEqual(["another-store"]);
    expect(modes()).toEqual(["c1 obey"]);
  });

  it("goes on observing while an operator adopts only the stores that were named", async () => {
    await link.newAgent().join(OTHER);
    const report = await link.server.adoption.adopt(ORG, { dryRun: false, storeIds: ["third"] });
    expect(report).toMatchObject({ adopted: ["third"], agents: [] });
    expect(modes()).toEqual(["c1 observe"]);
  });
});

describe("a store that was restored from an older copy", () => {
  it("is found by a newer term, gives no orders, and becomes one of its own by an adoption", async () => {
    const first = status().storeId;
    await link.stop();
    const copy = path.join(link.directory, "copy.db");
    copyFileSync(link.server.file, copy);
    await link.server.start();
    await link.restart();
    const known = await knownBy(link.newAgent());
    expect(known).toMatchObject({ knownStoreId: first, knownControllerTerm: 3n });
    await link.stop();
    restore(copy);
    await link.server.start();
    const agent = link.newAgent();
    const { observeReason } = await agent.register(known);
    expect(observeReason).toContain("restored from an older copy");
    expect(modes()).toEqual(["c1 observe"]);
    expect(status().restored).toMatchObject({ clusterId: "c1", knownTerm: "3" });
    const order = link.server.commands.send("c1", ECHO, { timeoutMs: 1_000 });
    await expect(order).rejects.toMatchObject({ reason: "PRECONDITION_FAILED" });
    const report = await link.server.adoption.adopt(ORG, { dryRun: false });
    expect(report).toMatchObject({ renewed: true, formerStoreId: first, adopted: [first] });
    const answer = await agent.register(known);
    expect(answer.fence?.storeId).toBe(report.storeId);
    expect(report.storeId).not.toBe(first);
    expect(answer.adoptedStoreIds).toContain(first);
    expect(modes()).toEqual(["c1 obey"]);
    expect(status().restored).toBeUndefined();
  });

  it("is found when it has come to the very term that agents know, and remembered over its restarts", async () => {
    await link.stop();
    const copy = path.join(link.directory, "copy.db");
    copyFileSync(link.server.file, copy);
    await link.server.start();
    const known = await knownBy(link.newAgent());
    expect(known.knownControllerTerm).toBe(2n);
    await link.stop();
    restore(copy);
    await link.server.start();
    const agent = link.newAgent();
    const answer = await agent.register(known);
    expect(answer.fence).toMatchObject({ controllerTerm: 2n });
    expect(modes()).toEqual(["c1 observe"]);
    await link.restart();
    // By now the term is higher than any that an agent knows, yet the store is not trusted.
    expect(status().controllerTerm).toBe(3n);
    const order = link.server.commands.send("c1", ECHO, { timeoutMs: 1_000 });
    await expect(order).rejects.toThrow("`berth fleet adopt`");
  });

  it("does not take a reconnect for it", async () => {
    const agent = link.newAgent();
    const known = await knownBy(agent);
    await agent.register(known);
    await link.newAgent("c2").register();
    await agent.register(known);
    expect(status().restored).toBeUndefined();
    expect(modes()).toEqual(["c1 obey", "c2 obey"]);
  });

  it("is found when it was started more often than the lost one", async () => {
    await link.stop();
    const copy = path.join(link.directory, "copy.db");
    copyFileSync(link.server.file, copy);
    await link.server.start();
    const known = await knownBy(link.newAgent());
    await link.stop();
    restore(copy);
    for (let starts = 0; starts < 3; starts += 1) {
      await link.server.start();
      await link.stop();
    }
    await link.server.start();
    expect(status().controllerTerm).toBeGreaterThan(known.knownControllerTerm);
    await link.newAgent().register(known);
    expect(status().agents).toMatchObject([{ mode: "observe", cause: "restored" }]);
    expect(status().restored).toMatchObject({ clusterId: "c1" });
  });

  it("goes on giving terms that it knows again after an adoption and a restart", async () => {
    const first = link.newAgent();
    await first.join({ knownStoreId: status().storeId, knownControllerTerm: 9n });
    const report = await link.server.adoption.adopt(ORG, { dryRun: false });
    expect(report.renewed).toBe(true);
    const known = await knownBy(first);
    expect(known.knownStoreId).toBe(report.storeId);
    await link.restart();
    expect((await link.newAgent().register(known)).observeReason).toBe("");
    expect(modes()).toEqual(["c1 obey"]);
  });

  it("refuses the orders that the former store gave and nobody answered", async () => {
    const agent = link.newAgent();
    const known = await knownBy(agent);
    const waiting = link.server.commands.send("c1", ECHO, { timeoutMs: 60_000 });
    await vi.waitFor(async () => {
      expect(await link.server.commands.list({ state: "pending", limit: 1 })).toHaveLength(1);
    });
    const newer = { ...known, knownControllerTerm: 9n };
    await agent.join(newer);
    await link.server.adoption.adopt(ORG, { dryRun: false });
    const { sessionId } = await agent.register(newer);
    const orders = agent.commands(sessionId);
    const next = orders.next();
    expect(await waiting).toMatchObject({ kind: "refused", reason: "PRECONDITION_FAILED" });
    agent.close();
    await expect(next).rejects.toBeDefined();
  });
});

describe("an agent that claims a term that this store never gave", () => {
  it.each([
    ["a huge one", 2n ** 53n - 1n, ""],
    ["one with a made-up id", 1n, `${"0".repeat(36)}.${"A".repeat(43)}`],
  ])("gets no orders itself (%s), and stops nobody else's", async (_what, term, termId) => {
    const claim = {
      knownStoreId: status().storeId,
      knownControllerTerm: term,
      knownTermId: termId,
    };
    const liar = link.newAgent();
    const answer = await liar.register(claim);
    expect(answer.observeReason).toContain("without proof");
    expect(status().agents).toMatchObject([{ mode: "observe", cause: "contradicts" }]);
    expect(status().restored).toBeUndefined();
    await vi.waitFor(async () => {
      const events = await link.server.events.list({ kind: "term_contradicted", limit: 10 });
      expect(events.map(({ clusterId }) => clusterId)).toEqual(["c1"]);
    });
    const refused = link.server.commands.send("c1", ECHO, { timeoutMs: 1_000 });
    await expect(refused).rejects.toThrow("`berth fleet adopt`");
    const other = link.newAgent("c2");
    const { sessionId } = await other.register();
    const sent = link.server.commands.send("c2", ECHO, { timeoutMs: 60_000 });
    const { value } = await other.commands(sessionId).next();
    await other.complete(sessionId, value?.command?.commandId ?? "");
    expect(await sent).toMatchObject({ kind: "completed" });
  });

  it("obeys after an adoption, which gives the store a new id that everybody moves on to", async () => {
    const { storeId } = status();
    const [liar, other] = [link.newAgent(), link.newAgent("c2")];
    const known = await knownBy(other);
    const claim = { knownStoreId: storeId, knownControllerTerm: 99n };
    await liar.join(claim);
    const report = await link.server.adoption.adopt(ORG, { dryRun: false });
    expect(report).toMatchObject({ renewed: true, formerStoreId: storeId, adopted: [storeId] });
    expect(link.server.agents.refusal("c1")).toBeUndefined();
    await liar.register(claim);
    await other.register(known);
    expect(modes()).toEqual(["c1 obey", "c2 obey"]);
  });
});
