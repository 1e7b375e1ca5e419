import { describe, expect, it, vi } from "vitest";
import { entry, type StateStream } from "../../testing/agents.ts";
import { aDocument } from "../../testing/documents.ts";
import { useLinkServer } from "../../testing/link-fixture.ts";
import { ORG } from "../../testing/link-server.ts";

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
    await link.startWith({ atOnce: 1, turnMs: 100 });
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

  it("suspends verdicts for a bounded time, however long agents stall", async () => {
    await link.startWith({ atOnce: 1, suspendMs: 60_000 });
    await link.agent.join();
    await (await link.newAgent("a").open()).admitted();
    link.server.nowMs = 60_000;
    link.server.sessions.expire();
    expect(await health()).toBe("live");
    link.server.nowMs = 60_001;
    link.server.sessions.expire();
    expect(await health()).toBe("unreachable");
  });
});
