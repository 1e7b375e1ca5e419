import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { AgentService, ClusterIdentityKind } from "@berth/proto";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClusterRegistry } from "../../fleet/cluster-registry.ts";
import {
  entry,
  hello,
  INSTANCE,
  keyOf,
  OTHER_INSTANCE,
  type RegisterInit,
  StateStream,
  TestAgent,
} from "../../testing/agents.ts";
import { aDocument, someMetrics } from "../../testing/documents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";

let directory: string;
let server: LinkServer;
let registry: ClusterRegistry;
let agents: TestAgent[];
let agent: TestAgent;

async function start(admission: ConstructorParameters<typeof LinkServer>[1] = {}): Promise<void> {
  server = new LinkServer(directory, admission);
  await server.start();
  connect();
}

/** A new connection and a new registry, after the server was started. */
function connect(): void {
  registry = server.registry();
  agent = newAgent();
}

function newAgent(clusterId = "c1"): TestAgent {
  const made = new TestAgent(server.url, clusterId);
  agents.push(made);
  return made;
}

async function restart(): Promise<void> {
  await server.stop();
  await server.start();
  connect();
}

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-agent-service-"));
  agents = [];
  await start();
});

afterEach(async () => {
  for (const made of agents) made.close();
  await server.stop();
  rmSync(directory, { recursive: true });
});

const health = async (id = "c1") => (await registry.get(ORG, id)).health;

const hasCode = (code: Code) => (thrown: unknown) =>
  thrown instanceof ConnectError && thrown.code === code;

const kindsOf = async (clusterId = "c1") => {
  const events = await server.events.list({ clusterId, limit: 100 });
  return events.map(({ kind }) => kind).reverse();
};

describe("AgentService.register", () => {
  it("refuses a call without a key", async () => {
    const call = agent.client.register(hello());
    await expect(call).rejects.toSatisfy(hasCode(Code.Unauthenticated));
  });

  it("tells the agent its fence, and raises the term at each start on the same store", async () => {
    const first = await agent.register();
    expect(first.fence).toMatchObject({ controllerTerm: 1n, agentIncarnation: 1n });
    expect(first).toMatchObject({
      snapshotWanted: true,
      reportIntervalMs: 1_000,
      ttlMs: 10_000,
      adoptedStoreIds: [],
    });
    await restart();
    const second = await agent.register();
    expect(second.fence?.storeId).toBe(first.fence?.storeId);
    expect(second.fence?.controllerTerm).toBe(2n);
  });

  it.each<[string, RegisterInit, string]>([
    ["cluster id", { clusterId: "../x" }, "cluster_id"],
    ["identity", { identity: { kind: ClusterIdentityKind.PROCESS, value: "" } }, "identity.value"],
    [
      "identity kind",
      { identity: { kind: ClusterIdentityKind.UNSPECIFIED, value: "x" } },
      "identity.kind",
    ],
    ["incarnation", { agentIncarnation: 0n }, "agent_incarnation"],
    ["huge incarnation", { agentIncarnation: 2n ** 64n - 1n }, "agent_incarnation"],
    ["instance id", { agentInstanceId: "x" }, "agent_instance_id"],
    ["known store", { knownStoreId: "x".repeat(129) }, "known_store_id"],
    ["known term", { knownControllerTerm: 2n ** 53n }, "known_controller_term"],
    ["known term id", { knownTermId: "x".repeat(129) }, "known_term_id"],
    ["former instance", { formerInstanceIds: ["x"] }, "former_instance_ids"],
    ["past", { formerInstanceIds: Array(257).fill(INSTANCE) }, "former_instance_ids"],
  ])("refuses a bad %s by name", async (_name, overrides, field) => {
    await expect(agent.register(overrides)).rejects.toThrow(field);
  });

  it("takes the cluster from the key, whatever the message claims", async () => {
    const call = agent.register({ clusterId: "c2" });
    await expect(call).rejects.toSatisfy(hasCode(Code.PermissionDenied));
    expect(server.sessions.status(ORG)).toEqual([]);
  });

  it("refuses another identity than the key was enrolled for, and tells it as an event", async () => {
    const identity = { kind: ClusterIdentityKind.PROCESS, value: "another:machine" };
    const call = agent.register({ identity });
    await expect(call).rejects.toSatisfy(hasCode(Code.AlreadyExists));
    await expect(agent.register({ identity })).rejects.toThrow("bound to another cluster");
    // The second refusal within a minute is the same news.
    await vi.waitFor(async () => expect(await kindsOf()).toEqual(["agent_refused"]));
  });

  it("refuses an identity that an older version bound to the cluster id", async () => {
    const key = { orgId: ORG, collection: "cluster_bindings", id: "c1" };
    const body = { identity: "process:former:machine", incarnation: "1" };
    await server.store.apply([{ kind: "insert", key, body }]);
    await expect(agent.register()).rejects.toSatisfy(hasCode(Code.AlreadyExists));
  });

  it("lets another process wait while the newest is there, and takes it with its state restored when that is silent", async () => {
    await agent.join({ agentIncarnation: 5n });
    const restored = { agentIncarnation: 4n, agentInstanceId: OTHER_INSTANCE };
    await expect(agent.register(restored)).rejects.toSatisfy(hasCode(Code.Unavailable));
    server.nowMs = 10_001;
    server.sessions.expire();
    const accepted = await agent.register(restored);
    expect(accepted).toMatchObject({ snapshotWanted: true, fence: { agentIncarnation: 4n } });
    await vi.waitFor(async () => expect(await kindsOf()).toContain("agent_restored"));
  });

  it.each<[string, RegisterInit, boolean]>([
    ["another process that knows nothing of the last one", {}, true],
    ["a later start that does not descend from it", { agentIncarnation: 9n }, true],
    ["a later start of its own", { agentIncarnation: 2n, formerInstanceIds: [INSTANCE] }, false],
    ["a start of its own whose count was lost", { formerInstanceIds: [INSTANCE] }, false],
  ])(
    "knows whether all state has to come again from %s",
    async (_what, overrides, snapshotWanted) => {
      await agent.join();
      server.nowMs = 10_001;
      server.sessions.expire();
      const stateDigest = createHash("sha256").update("cluster\t1\n").digest("hex");
      const next = { agentInstanceId: OTHER_INSTANCE, stateDigest, ...overrides };
      expect(await agent.register(next)).toMatchObject({ snapshotWanted });
      await vi.waitFor(async () => expect(await kindsOf()).toContain("agent_lost"));
      expect((await kindsOf()).includes("agent_restored")).toBe(snapshotWanted);
    },
  );

  it("compares numbers with what a former version remembered", async () => {
    const key = { orgId: ORG, collection: "cluster_bindings", id: "c1" };
    const body = { identity: "process:machine:c1", incarnation: "5" };
    await server.store.apply([{ kind: "insert", key, body }]);
    await agent.register({ agentIncarnation: 4n });
    await vi.waitFor(async () => {
      expect(await kindsOf()).toEqual(["agent_connected", "agent_restored"]);
    });
  });

  it("refuses a message larger than its limit, compressed or not", async () => {
    const stateDigest = "\n".repeat(4 * 1024 * 1024);
    await expect(agent.register({ stateDigest })).rejects.toSatisfy(
      hasCode(Code.ResourceExhausted),
    );
    const call = agent.complete("session", "x", stateDigest);
    await expect(call).rejects.toSatisfy(hasCode(Code.ResourceExhausted));
  });

  it("serves gRPC clients too", async () => {
    const sessionManager = new Http2SessionManager(server.url);
    const transport = createGrpcTransport({ baseUrl: server.url, sessionManager });
    const headers = { authorization: `Bearer ${keyOf("c1")}` };
    const answer = await createClient(AgentService, transport).register(hello(), { headers });
    expect(answer).toMatchObject({ ttlMs: 10_000 });
    sessionManager.abort();
  });
});

describe("AgentService.state and .report", () => {
  it("makes a cluster live at the end of its snapshot, and shows reported metrics", async () => {
    const { sessionId } = await agent.join();
    expect(await health()).toBe("live");
    const before = server.sessions.version;
    const report = agent.report(sessionId);
    report.send([entry("metrics", 1, { vcpu: {} }), entry("node/node-1", 1, someMetrics())]);
    await vi.waitFor(async () => {
      expect((await registry.get(ORG, "c1")).nodes.get("node-1")?.status).toBe("healthy");
    });
    const after = server.sessions.version;
    expect(after).toBeGreaterThan(before);
    // A report without news does not make a new version.
    report.send();
    report.end();
    await expect(report.ended).resolves.toMatchObject({ reason: expect.any(String) });
    expect(server.sessions.version).toBe(after);
  });

  it("asks for no snapshot from an agent whose state it has, and takes changes at once", async () => {
    await agent.join();
    const stateDigest = createHash("sha256").update("cluster\t1\n").digest("hex");
    const again = await agent.register({ stateDigest });
    expect(again.snapshotWanted).toBe(false);
    expect(await health()).toBe("live");
    const state = new StateStream(agent, again.sessionId);
    state.send({ entries: [entry("cluster", 2, { ...aDocument("c1"), tags: ["new"] })] });
    expect(await state.answer()).toEqual({ acked: 1, admitted: false });
    expect((await registry.get(ORG, "c1")).document.tags).toEqual(["new"]);
  });

  it("refuses changes and snapshots before a wanted snapshot is admitted", async () => {
    const state = await agent.open();
    state.send({ entries: [entry("cluster", 1, aDocument("c1"))] });
    await expect(state.answer()).rejects.toThrow("expected the snapshot");
    const other = await agent.open();
    other.send({ snapshot: true, snapshotEnd: true });
    await expect(other.answer()).rejects.toThrow("not admitted");
  });

  it("ends the streams of the older session when a newer one begins, and takes nothing of it any more", async () => {
    const older = await agent.join();
    const report = agent.report(older.sessionId);
    report.send([entry("metrics", 1, {})]);
    await agent.register();
    older.send({ entries: [entry("cluster", 9, { ...aDocument("c1"), tags: ["zombie"] })] });
    await expect(older.answer()).rejects.toSatisfy(hasCode(Code.Aborted));
    await expect(report.ended).rejects.toSatisfy(hasCode(Code.Aborted));
    await expect(agent.complete(older.sessionId, "x")).rejects.toSatisfy(hasCode(Code.Aborted));
    expect((await registry.get(ORG, "c1")).document.tags).toEqual([]);
  });

  it("refuses a stream of an ended session, of another agent's, and a skipped sequence number", async () => {
    const late = new StateStream(agent, "no-such-session");
    late.send();
    await expect(late.answer()).rejects.toThrow("register again");
    const state = await agent.join();
    const thief = new StateStream(newAgent("c2"), state.sessionId);
    thief.send();
    await expect(thief.answer()).rejects.toSatisfy(hasCode(Code.PermissionDenied));
    state.send({ streamSeq: 4n });
    await expect(state.answer()).rejects.toThrow("stream_seq: expected 3, got 4");
  });

  it("names the bad entry of a message and keeps what it had", async () => {
    const state = await agent.join();
    state.send({ entries: [entry("cluster", 2, aDocument("other"))] });
    await expect(state.answer()).rejects.toThrow('entry "cluster": id: expected "c1"');
    expect((await registry.get(ORG, "c1")).document.id).toBe("c1");
  });

  it("takes documents of several MiB, and none of more than 16", async () => {
    const state = await agent.join();
    const big = (mebibytes: number, revision: number) => {
      const config = { pad: "x".repeat(mebibytes * 1024 * 1024) };
      return entry("cluster", revision, { ...aDocument("c1"), config });
    };
    state.send({ entries: [big(15, 2)] });
    expect(await state.answer()).toMatchObject({ acked: 3 });
    state.send({ entries: [big(16, 3)] });
    await expect(state.answer()).rejects.toSatisfy(hasCode(Code.ResourceExhausted));
  });

  it("keeps the state that it had when a snapshot holds a bad entry", async () => {
    await agent.join();
    const state = await agent.open();
    await state.admitted();
    const entries = [entry("cluster", 2, aDocument("c1")), entry("evil", 1, {})];
    state.send({ snapshot: true, snapshotEnd: true, entries });
    await expect(state.answer()).rejects.toThrow("unknown key");
    expect((await registry.get(ORG, "c1")).document).toEqual(aDocument("c1"));
  });

  it("calls a cluster unreachable after its TTL of silence, and live when it is back", async () => {
    const state = await agent.join();
    server.nowMs = 10_001;
    server.sessions.expire();
    expect(await health()).toBe("unreachable");
    await expect(state.answer()).rejects.toThrow("silent");
    await agent.join();
    expect(await health()).toBe("live");
    await vi.waitFor(async () => {
      expect(await kindsOf()).toEqual(["agent_connected", "agent_lost", "agent_connected"]);
    });
  });

  it("forgets a cluster and its key only when its agent has gone, or by force", async () => {
    const state = await agent.join();
    await expect(registry.remove(ORG, "c1")).rejects.toThrow("?force=true");
    expect(await health()).toBe("live");
    await registry.remove(ORG, "c1", { force: true });
    await expect(state.answer()).rejects.toThrow("removed");
    await expect(registry.get(ORG, "c1")).rejects.toThrow("Cluster not found");
    expect(server.forgotten).toEqual(["c1"]);
    const second = await agent.join({ agentInstanceId: OTHER_INSTANCE });
    server.nowMs = 10_001;
    server.sessions.expire();
    await registry.remove(ORG, "c1");
    await expect(second.answer()).rejects.toThrow("silent");
    expect(server.forgotten).toEqual(["c1", "c1"]);
  });

  it("ends a session at once when its agent's key has ended", async () => {
    const state = await agent.join();
    server.endedKeys.add("c1");
    server.agents.keyEnded("c1");
    await expect(state.answer()).rejects.toThrow("the agent's key has ended");
    expect(await health()).toBe("unreachable");
    expect(server.sessions.status(ORG)).toEqual([]);
    await expect(agent.register()).rejects.toSatisfy(hasCode(Code.Unauthenticated));
  });

  it("takes one stream of each kind of a session, and one more when that has ended", async () => {
    const state = await agent.join();
    const { sessionId } = state;
    const second = new StateStream(agent, sessionId);
    second.send();
    await expect(second.answer()).rejects.toThrow("has an open state stream");
    const report = agent.report(sessionId);
    report.send();
    await vi.waitFor(() => expect(server.sessions.status(ORG)[0]?.connected).toBe(true));
    const twice = agent.report(sessionId);
    twice.send();
    await expect(twice.ended).rejects.toThrow("has an open report stream");
    const stop = new AbortController();
    agent
      .commands(sessionId, stop.signal)
      .next()
      .catch(() => undefined);
    await vi.waitFor(async () => {
      await expect(agent.commands(sessionId).next()).rejects.toThrow("an open commands stream");
    });
    report.end();
    await report.ended;
    const third = agent.report(sessionId);
    third.send();
    third.end();
    await expect(third.ended).resolves.toBeDefined();
    state.end();
    stop.abort();
  });
});

describe("snapshot admission", () => {
  it("lets a bounded number of agents send at once, in the order in which they came", async () => {
    await server.stop();
    await start({ atOnce: 2 });
    const order: string[] = [];
    const streams: StateStream[] = [];
    for (const id of ["a", "b", "c", "d"]) {
      const stream = await newAgent(id).open();
      stream.send();
      expect(await stream.answer()).toMatchObject({ acked: 1 });
      streams.push(stream);
    }
    const waits = ["a", "b", "c", "d"].map(async (id, index) => {
      const stream = streams[index];
      while (!(await stream?.answer())?.admitted);
      order.push(id);
    });
    await vi.waitFor(() => expect(order).toEqual(["a", "b"]));
    expect(server.sessions.admission.counts).toEqual({ admitted: 2, waiting: 2, limit: 2 });
    for (const [index, id] of ["a", "b", "c", "d"].entries()) {
      await vi.waitFor(() => expect(order).toContain(id));
      const entries = [entry("cluster", 1, aDocument(id))];
      streams[index]?.send({ snapshot: true, snapshotEnd: true, entries });
    }
    await Promise.all(waits);
    expect(order).toEqual(["a", "b", "c", "d"]);
    await vi.waitFor(async () => {
      for (const id of order) expect(await health(id)).toBe("live");
    });
    expect(server.sessions.admission.counts).toMatchObject({ admitted: 0, waiting: 0 });
  });

  it("holds silence against nobody while agents wait, and counts it from the end of the wait", async () => {
    await server.stop();
    await start({ atOnce: 1 });
    await agent.join();
    const [slow, waiting] = [await newAgent("a").open(), await newAgent("b").open()];
    await slow.admitted();
    waiting.send();
    await waiting.answer();
    server.nowMs = 60_000;
    server.sessions.expire();
    expect(await health()).toBe("live");
    expect(server.sessions.status(ORG)).toHaveLength(3);
    slow.send({
      snapshot: true,
      snapshotEnd: true,
      entries: [entry("cluster", 1, aDocument("a"))],
    });
    await slow.answer();
    expect(await waiting.answer()).toMatchObject({ admitted: true });
    waiting.send({
      ...{ snapshot: true, snapshotEnd: true },
      entries: [entry("cluster", 1, aDocument("b"))],
    });
    await waiting.answer();
    server.nowMs = 69_000;
    server.sessions.expire();
    expect(await health()).toBe("live");
    server.nowMs = 70_001;
    server.sessions.expire();
    expect(await health()).toBe("unreachable");
  });

  it("takes a turn back that is not used, and one whose agent has gone", async () => {
    await server.stop();
    await start({ atOnce: 1, turnMs: 100 });
    const idle = await newAgent("a").open();
    await idle.admitted();
    const gone = newAgent("b");
    const waiting = await gone.open();
    waiting.send();
    await waiting.answer();
    gone.close();
    const next = await newAgent("c").open();
    await next.snapshot("c");
    expect(await health("c")).toBe("live");
    await expect(idle.answer()).rejects.toThrow("did not send its snapshot");
    expect(server.sessions.admission.counts).toMatchObject({ admitted: 0, waiting: 0 });
  });

  it("suspends verdicts for a bounded time, however long agents stall", async () => {
    await server.stop();
    await start({ atOnce: 1, suspendMs: 60_000 });
    await agent.join();
    await (await newAgent("a").open()).admitted();
    server.nowMs = 60_000;
    server.sessions.expire();
    expect(await health()).toBe("live");
    server.nowMs = 60_001;
    server.sessions.expire();
    expect(await health()).toBe("unreachable");
  });
});
