import { describe, expect, it, onTestFinished, vi } from "vitest";
import { entry, type StateStream, TestAgent } from "../../testing/agents.ts";
import { aDocument } from "../../testing/documents.ts";
import { useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";
import { startSlowLine } from "../../testing/slow-line.ts";

const link = useLinkServer({ isStarted: false });

const health = async (id = "c1") => (await link.registry.get(ORG, id)).health;

describe("snapshot admission", () => {
  it("lets a bounded number of agents send at once, in the order in which they came", async () => {
    await link.startWith({ atOnce: 2 });
    const order: string[] = [];
    const streams: StateStream[] = [];
    for (const id of ["a", "b", "c", "d"]) {
      const stream = await link.newAgent(id).open();
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
    expect(link.server.sessions.admission.counts).toEqual({ admitted: 2, waiting: 2, limit: 2 });
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
    expect(link.server.sessions.admission.counts).toMatchObject({ admitted: 0, waiting: 0 });
  });

  it("holds silence against nobody while agents wait, and counts it from the end of the wait", async () => {
    await link.startWith({ atOnce: 1 });
    await link.agent.join();
    const [slow, waiting] = [await link.newAgent("a").open(), await link.newAgent("b").open()];
    await slow.admitted();
    waiting.send();
    await waiting.answer();
    link.server.nowMs = 60_000;
    link.server.sessions.expire();
    expect(await health()).toBe("live");
    expect(link.server.sessions.status(ORG)).toHaveLength(3);
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
    link.server.nowMs = 69_000;
    link.server.sessions.expire();
    expect(await health()).toBe("live");
    link.server.nowMs = 70_001;
    link.server.sessions.expire();
    expect(await health()).toBe("unreachable");
  });

  it("takes a turn back that is not used, and one whose agent has gone", async () => {
    await link.startWith({ atOnce: 1, stallMs: 100, checkMs: 10 });
    const idle = await link.newAgent("a").open();
    await idle.admitted();
    const gone = link.newAgent("b");
    const waiting = await gone.open();
    waiting.send();
    await waiting.answer();
    gone.close();
    const next = await link.newAgent("c").open();
    await next.snapshot("c");
    expect(await health("c")).toBe("live");
    await expect(idle.answer()).rejects.toThrow("did not send its snapshot");
    expect(link.server.sessions.admission.counts).toMatchObject({ admitted: 0, waiting: 0 });
  });

  it("lets a newcomer in beside agents that use none of their turns, also when they come again", async () => {
    await link.startWith({ atOnce: 2, stallMs: 300, checkMs: 20 });
    const rogues = ["a", "b"].map((id) => link.newAgent(id));
    for (const newcomer of ["c", "d"]) {
      const stalled = await Promise.all(rogues.map((agent) => agent.open({ stateDigest: "x" })));
      await Promise.all(stalled.map((stream) => stream.admitted()));
      await link.newAgent(newcomer).join();
      expect(await health(newcomer)).toBe("live");
      for (const stream of stalled) {
        await expect(stream.answer()).rejects.toThrow("did not send its snapshot");
      }
    }
  });

  it("gives an agent on a slow line the time that its snapshot takes, as it comes", async () => {
    const limits = { stallMs: 400, turnMs: 600, turnMsPer64KiB: 100, checkMs: 20 };
    await link.startWith(limits);
    const targetPort = Number(new URL(link.server.url).port);
    const port = await startSlowLine(onTestFinished, { targetPort, bytesPerMs: 1_000 });
    const agent = new TestAgent(`http://127.0.0.1:${port}`, "far");
    onTestFinished(() => agent.close());
    const state = await agent.open();
    await state.admitted();
    const document = { ...aDocument("far"), config: { pad: "x".repeat(1_000_000) } };
    const begunAt = performance.now();
    state.send({ snapshot: true, snapshotEnd: true, entries: [entry("cluster", 1, document)] });
    await state.answer();
    expect(performance.now() - begunAt).toBeGreaterThan(limits.turnMs);
    expect(await health("far")).toBe("live");
  });

  it("suspends verdicts for a bounded time, however long agents stall in a queue", async () => {
    await link.startWith({ atOnce: 1, suspendMs: 60_000 });
    await link.agent.join();
    await (await link.newAgent("a").open()).admitted();
    const waiting = await link.newAgent("b").open();
    waiting.send();
    await waiting.answer();
    link.server.nowMs = 70_000;
    link.server.sessions.expire();
    expect(await health()).toBe("live");
    link.server.nowMs = 70_001;
    link.server.sessions.expire();
    expect(await health()).toBe("unreachable");
  });

  it("excuses nobody but its own agent when one fails with its snapshot again and again", async () => {
    await link.startWith({});
    await link.agent.join();
    for (let nowMs = 5_000; nowMs <= 15_000; nowMs += 5_000) {
      const bad = await link.newAgent("bad").open({ stateDigest: "x" });
      await bad.admitted();
      bad.send({ snapshot: true, snapshotEnd: true, entries: [entry("cluster", 1, [])] });
      await expect(bad.answer()).rejects.toThrow("expected an object, got array");
      link.server.nowMs = nowMs;
      link.server.sessions.expire();
      expect(await health()).toBe(nowMs > 10_000 ? "unreachable" : "live");
    }
  });

  it("does not lose an agent whose own snapshot takes longer than its TTL", async () => {
    await link.startWith({});
    await link.agent.join();
    const again = await link.newAgent().open({ stateDigest: "x" });
    await again.admitted();
    link.server.nowMs = 60_000;
    link.server.sessions.expire();
    expect(await health()).toBe("live");
    again.send({
      ...{ snapshot: true, snapshotEnd: true },
      entries: [entry("cluster", 2, aDocument("c1"))],
    });
    await again.answer();
    link.server.nowMs = 70_000;
    link.server.sessions.expire();
    expect(await health()).toBe("live");
    link.server.nowMs = 70_001;
    link.server.sessions.expire();
    expect(await health()).toBe("unreachable");
  });

  it("gives the fleet a whole TTL of verdicts between two times in which it is excused", async () => {
    await link.startWith({ atOnce: 1 });
    await link.agent.join();
    const crowd = async () => {
      const pair = [link.newAgent("a"), link.newAgent("b")];
      for (const agent of pair) {
        const stream = await agent.open({ stateDigest: "x" });
        stream.send();
        await stream.answer();
      }
      await vi.waitFor(() =>
        expect(link.server.sessions.admission.counts).toMatchObject({ waiting: 1 }),
      );
      return async () => {
        for (const agent of pair) agent.close();
        const left = { admitted: 0, waiting: 0 };
        await vi.waitFor(() => expect(link.server.sessions.admission.counts).toMatchObject(left));
      };
    };
    for (const nowMs of [5_000, 9_000, 13_000]) {
      const leave = await crowd();
      link.server.nowMs = nowMs;
      link.server.sessions.expire();
      expect(await health()).toBe("live");
      await leave();
    }
    const leave = await crowd();
    link.server.nowMs = 15_001;
    link.server.sessions.expire();
    expect(await health()).toBe("unreachable");
    await leave();
  });
});
