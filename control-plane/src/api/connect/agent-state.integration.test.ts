import { Code } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { entry, OTHER_INSTANCE, StateStream } from "../../testing/agents.ts";
import { aDocument, someMetrics } from "../../testing/documents.ts";
import { hasCode, STATE_DIGEST, useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

const link = useLinkServer();

const health = async (id = "c1") => (await link.registry.get(ORG, id)).health;

describe("AgentService.state and .report", () => {
  it("makes a cluster live at the end of its snapshot, and shows reported metrics", async () => {
    const { sessionId } = await link.agent.join();
    expect(await health()).toBe("live");
    const before = link.server.sessions.version;
    const report = link.agent.report(sessionId);
    report.send([entry("metrics", 1, { vcpu: {} }), entry("node/node-1", 1, someMetrics())]);
    await vi.waitFor(async () => {
      expect((await link.registry.get(ORG, "c1")).nodes.get("node-1")?.status).toBe("healthy");
    });
    const after = link.server.sessions.version;
    expect(after).toBeGreaterThan(before);
    // A report without news does not make a new version.
    report.send();
    report.end();
    await expect(report.ended).resolves.toMatchObject({ reason: expect.any(String) });
    expect(link.server.sessions.version).toBe(after);
  });

  it("asks for no snapshot from an agent whose state it has, and takes changes at once", async () => {
    await link.agent.join();
    const again = await link.agent.register({ stateDigest: STATE_DIGEST });
    expect(again.snapshotWanted).toBe(false);
    expect(await health()).toBe("live");
    const state = new StateStream(link.agent, again.sessionId);
    state.send({ entries: [entry("cluster", 2, { ...aDocument("c1"), tags: ["new"] })] });
    expect(await state.answer()).toEqual({ acked: 1, admitted: false });
    expect((await link.registry.get(ORG, "c1")).document.tags).toEqual(["new"]);
  });

  it("refuses changes and snapshots before a wanted snapshot is admitted", async () => {
    const state = await link.agent.open();
    state.send({ entries: [entry("cluster", 1, aDocument("c1"))] });
    await expect(state.answer()).rejects.toThrow("expected the snapshot");
    const other = await link.agent.open();
    other.send({ snapshot: true, snapshotEnd: true });
    await expect(other.answer()).rejects.toThrow("not admitted");
  });

  it("ends the streams of the older session when a newer one begins, and takes nothing of it any more", async () => {
    const older = await link.agent.join();
    const report = link.agent.report(older.sessionId);
    report.send([entry("metrics", 1, {})]);
    await link.agent.register();
    older.send({ entries: [entry("cluster", 9, { ...aDocument("c1"), tags: ["zombie"] })] });
    await expect(older.answer()).rejects.toSatisfy(hasCode(Code.Aborted));
    await expect(report.ended).rejects.toSatisfy(hasCode(Code.Aborted));
    await expect(link.agent.complete(older.sessionId, "x")).rejects.toSatisfy(
      hasCode(Code.Aborted),
    );
    expect((await link.registry.get(ORG, "c1")).document.tags).toEqual([]);
  });

  it("refuses a stream of an ended session, of another agent's, and a skipped sequence number", async () => {
    const late = new StateStream(link.agent, "no-such-session");
    late.send();
    await expect(late.answer()).rejects.toThrow("register again");
    const state = await link.agent.join();
    const thief = new StateStream(link.newAgent("c2"), state.sessionId);
    thief.send();
    await expect(thief.answer()).rejects.toSatisfy(hasCode(Code.PermissionDenied));
    state.send({ streamSeq: 4n });
    await expect(state.answer()).rejects.toThrow("stream_seq: expected 3, got 4");
  });

  it("names the bad entry of a message and keeps what it had", async () => {
    const state = await link.agent.join();
    state.send({ entries: [entry("cluster", 2, aDocument("other"))] });
    await expect(state.answer()).rejects.toThrow('entry "cluster": id: expected "c1"');
    expect((await link.registry.get(ORG, "c1")).document.id).toBe("c1");
  });

  it("takes documents of several MiB, and none of more than 16", async () => {
    const state = await link.agent.join();
    const big = (mebibytes: number, revision: number) => {
      const config = { pad: "x".repeat(mebibytes * 1024 * 1024) };
      return entry("cluster", revision, { ...aDocument("c1"), config });
    };
    state.send({ entries: [big(15, 2)] });
    expect(await state.answer()).toMatchObject({ acked: 3 });
    state.send({ entries: [big(16, 3)] });
    await expect(state.answer()).rejects.toSatisfy(hasCode(Code.ResourceExhausted));
  });

  it("keeps the state that it had when a snapshot holds a bad entry, as one of an unreachable cluster", async () => {
    await link.agent.join();
    const state = await link.agent.open();
    await state.admitted();
    const entries = [entry("cluster", 2, aDocument("c1")), entry("evil", 1, {})];
    state.send({ snapshot: true, snapshotEnd: true, entries });
    await expect(state.answer()).rejects.toThrow("unknown key");
    const { document } = await link.registry.get(ORG, "c1");
    expect(document).toEqual({ ...aDocument("c1"), status: "unreachable" });
    await vi.waitFor(async () => {
      const [lost] = await link.server.events.list({ kind: "agent_lost", limit: 1 });
      expect(JSON.stringify(lost ?? "")).toContain("the agent's snapshot was refused: ");
    });
  });

  it("calls a cluster unreachable after its TTL of silence, and live when it is back", async () => {
    const state = await link.agent.join();
    link.server.nowMs = 10_001;
    link.server.sessions.expire();
    expect(await health()).toBe("unreachable");
    await expect(state.answer()).rejects.toThrow("silent");
    await link.agent.join();
    expect(await health()).toBe("live");
    await vi.waitFor(async () => {
      expect(await link.eventKinds()).toEqual(["agent_connected", "agent_lost", "agent_connected"]);
    });
  });

  it("forgets a cluster and its key only when its agent has gone, or by force", async () => {
    const state = await link.agent.join();
    await expect(link.registry.remove(ORG, "c1")).rejects.toThrow("?force=true");
    expect(await health()).toBe("live");
    await link.registry.remove(ORG, "c1", { force: true });
    await expect(state.answer()).rejects.toThrow("removed");
    await expect(link.registry.get(ORG, "c1")).rejects.toThrow("Cluster not found");
    expect(link.server.forgotten).toEqual(["c1"]);
    const second = await link.agent.join({ agentInstanceId: OTHER_INSTANCE });
    link.server.nowMs = 10_001;
    link.server.sessions.expire();
    await link.registry.remove(ORG, "c1");
    await expect(second.answer()).rejects.toThrow("silent");
    expect(link.server.forgotten).toEqual(["c1", "c1"]);
  });

  it("ends a session at once when its agent's key has ended", async () => {
    const state = await link.agent.join();
    link.server.endedKeys.add("c1");
    link.server.agents.keyEnded("c1");
    await expect(state.answer()).rejects.toThrow("the agent's key has ended");
    expect(await health()).toBe("unreachable");
    expect(link.server.sessions.status(ORG)).toEqual([]);
    await expect(link.agent.register()).rejects.toSatisfy(hasCode(Code.Unauthenticated));
  });

  it("takes one stream of each kind of a session, and one more when that has ended", async () => {
    const state = await link.agent.join();
    const { sessionId } = state;
    const second = new StateStream(link.agent, sessionId);
    second.send();
    await expect(second.answer()).rejects.toThrow("has an open state stream");
    const report = link.agent.report(sessionId);
    report.send();
    await vi.waitFor(() => expect(link.server.sessions.status(ORG)[0]?.connected).toBe(true));
    const twice = link.agent.report(sessionId);
    twice.send();
    await expect(twice.ended).rejects.toThrow("has an open report stream");
    const stop = new AbortController();
    link.agent
      .commands(sessionId, stop.signal)
      .next()
      .catch(() => undefined);
    await vi.waitFor(async () => {
      await expect(link.agent.commands(sessionId).next()).rejects.toThrow(
        "an open commands stream",
      );
    });
    report.end();
    await report.ended;
    const third = link.agent.report(sessionId);
    third.send();
    third.end();
    await expect(third.ended).resolves.toBeDefined();
    state.end();
    stop.abort();
  });
});
