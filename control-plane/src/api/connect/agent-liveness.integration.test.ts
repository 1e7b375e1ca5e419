import { describe, expect, it, vi } from "vitest";
import { entry, StateStream } from "../../testing/agents.ts";
import { STATE_DIGEST, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const link = useLinkServer();

const health = async () => (await link.server.registry().get(ORG, "c1")).health;

/** Moves the clock on, and looks for silence as the timer does. */
function pass(ms: number): void {
  link.server.nowMs += ms;
  link.server.sessions.expire();
}

/** Makes the cluster unreachable by silence. */
async function loseAgent(): Promise<void> {
  await link.agent.join();
  pass(10_001);
  expect(await health()).toBe("unreachable");
}

describe("the liveness of a cluster", () => {
  it("ends after the TTL though its agent registers again and again without a message on a stream", async () => {
    await link.agent.join();
    for (let tries = 0; tries < 5; tries += 1) {
      pass(2_000);
      expect((await link.agent.register({ stateDigest: STATE_DIGEST })).snapshotWanted).toBe(false);
    }
    expect(await health()).toBe("live");
    pass(1);
    expect(await health()).toBe("unreachable");
    for (let tries = 0; tries < 10; tries += 1) {
      await link.agent.register({ stateDigest: STATE_DIGEST });
      expect(await health()).toBe("unreachable");
      pass(3_000);
    }
    const events = await link.server.events.list({ kind: "agent_lost", limit: 10 });
    expect(events).toHaveLength(1);
  });

  it("begins with the first message of State, also when no snapshot is wanted", async () => {
    await loseAgent();
    const { sessionId, snapshotWanted } = await link.agent.register({ stateDigest: STATE_DIGEST });
    expect([snapshotWanted, await health()]).toEqual([false, "unreachable"]);
    const state = new StateStream(link.agent, sessionId);
    state.send();
    await state.answer();
    expect(await health()).toBe("live");
  });

  it("begins with the first report, when no snapshot is wanted", async () => {
    await loseAgent();
    const { sessionId } = await link.agent.register({ stateDigest: STATE_DIGEST });
    const report = link.agent.report(sessionId);
    report.send([entry("metrics", 1, {})]);
    await vi.waitFor(async () => expect(await health()).toBe("live"));
  });

  it("does not begin with a report while the snapshot is not there", async () => {
    await loseAgent();
    const { sessionId, snapshotWanted } = await link.agent.register();
    expect(snapshotWanted).toBe(true);
    const report = link.agent.report(sessionId);
    report.send([entry("metrics", 1, { x: 1 })]);
    await vi.waitFor(async () => {
      expect((await link.server.registry().get(ORG, "c1")).metricsJson).toContain('"x":1');
    });
    expect(await health()).toBe("unreachable");
  });

  it("gives an agent its whole TTL from its first session on", async () => {
    await loseAgent();
    await link.agent.register();
    pass(9_999);
    expect(link.server.sessions.status(ORG)).toHaveLength(1);
    pass(2);
    expect(link.server.sessions.status(ORG)).toEqual([]);
  });
});
