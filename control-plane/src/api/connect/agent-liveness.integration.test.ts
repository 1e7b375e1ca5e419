import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { entry, StateStream, TestAgent } from "../../testing/agents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";

/** Of a state with the cluster document at revision 1. */
const STATE_DIGEST = createHash("sha256").update("cluster\t1\n").digest("hex");

let directory: string;
let server: LinkServer;
let agent: TestAgent;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-liveness-"));
  server = new LinkServer(directory);
  await server.start();
  agent = new TestAgent(server.url);
});
afterEach(async () => {
  agent.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

const health = async () => (await server.registry().get(ORG, "c1")).health;

/** Moves the clock on, and looks for silence as the timer does. */
function pass(ms: number): void {
  server.nowMs += ms;
  server.sessions.expire();
}

/** Makes the cluster unreachable by silence. */
async function loseAgent(): Promise<void> {
  await agent.join();
  pass(10_001);
  expect(await health()).toBe("unreachable");
}

describe("the liveness of a cluster", () => {
  it("ends after the TTL though its agent registers again and again without a message on a stream", async () => {
    await agent.join();
    for (let tries = 0; tries < 5; tries += 1) {
      pass(2_000);
      expect((await agent.register({ stateDigest: STATE_DIGEST })).snapshotWanted).toBe(false);
    }
    expect(await health()).toBe("live");
    pass(1);
    expect(await health()).toBe("unreachable");
    for (let tries = 0; tries < 10; tries += 1) {
      await agent.register({ stateDigest: STATE_DIGEST });
      expect(await health()).toBe("unreachable");
      pass(3_000);
    }
    const events = await server.events.list({ kind: "agent_lost", limit: 10 });
    expect(events).toHaveLength(1);
  });

  it("begins with the first message of State, also when no snapshot is wanted", async () => {
    await loseAgent();
    const { sessionId, snapshotWanted } = await agent.register({ stateDigest: STATE_DIGEST });
    expect([snapshotWanted, await health()]).toEqual([false, "unreachable"]);
    const state = new StateStream(agent, sessionId);
    state.send();
    await state.answer();
    expect(await health()).toBe("live");
  });

  it("begins with the first report, when no snapshot is wanted", async () => {
    await loseAgent();
    const { sessionId } = await agent.register({ stateDigest: STATE_DIGEST });
    const report = agent.report(sessionId);
    report.send([entry("metrics", 1, {})]);
    await vi.waitFor(async () => expect(await health()).toBe("live"));
  });

  it("does not begin with a report while the snapshot is not there", async () => {
    await loseAgent();
    const { sessionId, snapshotWanted } = await agent.register();
    expect(snapshotWanted).toBe(true);
    const report = agent.report(sessionId);
    report.send([entry("metrics", 1, { x: 1 })]);
    await vi.waitFor(async () => {
      expect((await server.registry().get(ORG, "c1")).metricsJson).toContain('"x":1');
    });
    expect(await health()).toBe("unreachable");
  });

  it("gives an agent its whole TTL from its first session on", async () => {
    await loseAgent();
    await agent.register();
    pass(9_999);
    expect(server.sessions.status(ORG)).toHaveLength(1);
    pass(2);
    expect(server.sessions.status(ORG)).toEqual([]);
  });
});
