import { connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHORIZED, Cleanup, nodeClient, startAgent } from "../testing/agent.ts";
import { FakeControlPlane } from "../testing/fake-control-plane.ts";
import { registerRequest, until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const SCRIPT = { storeId: "store-1", term: 1n, snapshotWanted: true };

async function controlPlane(script: Partial<FakeControlPlane["script"]> = {}) {
  const plane = new FakeControlPlane({ ...SCRIPT, ...script });
  await plane.start(cleanup);
  return plane;
}

describe("ControlPlaneLink", () => {
  it("registers, sends a snapshot, then changes, and telemetry apart", async () => {
    const plane = await controlPlane();
    const agent = await startAgent(cleanup, { controlPlaneUrl: plane.url });
    await until("a snapshot came", () => plane.states.length > 0);
    const [register] = plane.registers;
    expect(register).toMatchObject({
      clusterId: "c1",
      agentIncarnation: 1n,
      knownStoreId: "",
      agentVersion: "0.1.0",
      agentInstanceId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    expect(register?.identity?.value).toMatch(/^[0-9a-f-]{32,36}:[0-9a-f-]{36}$/);
    expect(plane.states[0]).toMatchObject({
      sessionId: "session-1",
      streamSeq: 1n,
      snapshot: true,
      snapshotEnd: true,
    });
    expect(plane.newest("cluster")).toMatchObject({ id: "c1", nodes: { count: 0 } });
    await nodeClient(cleanup, agent).register(registerRequest(), AUTHORIZED);
    await until("the node is in the document", () => {
      return (plane.newest("cluster") as { nodes: { count: number } }).nodes.count === 1;
    });
    expect(plane.states.at(-1)).toMatchObject({ snapshot: false });
    await until("the node's metrics came", () => plane.newest("node/node-a") !== undefined);
    expect(plane.newest("node/node-a")).toMatchObject({ id: "node-a", status: "healthy" });
    expect(plane.newest("metrics")).toMatchObject({ vcpu: { count: 16 } });
    expect(agent.link()).toMatchObject({ state: "up", mode: "obey", storeId: "store-1" });
  });

  it("numbers each stream without a gap and reports on though nothing changes", async () => {
    const plane = await controlPlane();
    await startAgent(cleanup, { controlPlaneUrl: plane.url });
    await until("reports came", () => plane.reports.length >= 4);
    expect(plane.reports.slice(0, 4).map((report) => report.streamSeq)).toEqual([1n, 2n, 3n, 4n]);
    expect(plane.reports[0]?.entries.map((entry) => entry.key)).toEqual(["metrics"]);
    expect(plane.reports[3]?.entries).toEqual([]);
  });

  it("sends no snapshot when the control-plane holds the state, but later changes", async () => {
    const plane = await controlPlane({ snapshotWanted: false });
    const agent = await startAgent(cleanup, { controlPlaneUrl: plane.url });
    await until("reports came", () => plane.reports.length > 0);
    expect(plane.states).toEqual([]);
    await agent.cluster.update({ tags: ["changed"] });
    await until("the change came", () => plane.states.length > 0);
    expect(plane.states[0]).toMatchObject({ streamSeq: 1n, snapshot: false });
    expect(plane.newest("cluster")).toMatchObject({ tags: ["changed"] });
  });

  it("resumes when the control-plane comes back with a higher term, with the newest state", async () => {
    const plane = await controlPlane();
    const agent = await startAgent(cleanup, { controlPlaneUrl: plane.url });
    const tags = () => (plane.newest("cluster") as { tags: string[] } | undefined)?.tags;
    await until("the link is up", () => tags() !== undefined);
    await agent.cluster.update({ tags: ["before"] });
    await until("the change came", () => tags()?.[0] === "before");
    const port = Number(new URL(plane.url).port);
    await plane.stop();
    await until("the link is down", () => agent.link().state === "down");
    await agent.cluster.update({ tags: ["while-away"] });
    plane.script = { ...SCRIPT, term: 2n };
    await plane.start(cleanup, port);
    await until("the change came", () => tags()?.[0] === "while-away");
    expect(plane.registers.at(-1)).toMatchObject({
      knownStoreId: "store-1",
      knownControllerTerm: 1n,
      agentIncarnation: 1n,
    });
    expect(agent.link()).toMatchObject({ state: "up", controllerTerm: "2" });
    const digests = plane.registers.map((register) => register.stateDigest);
    expect(digests.at(-1)).not.toBe(digests[0]);
  });

  it("refuses an older term of the store that it knows, over its own restart too", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane({ term: 5n });
    const first = await startAgent(cleanup, { dataDir, controlPlaneUrl: plane.url });
    await until("the link is up", () => first.link().controllerTerm === "5");
    await first.stop();
    plane.script = { ...SCRIPT, term: 4n };
    const second = await startAgent(cleanup, { dataDir, controlPlaneUrl: plane.url });
    await until("the older term was refused", () => {
      return second.link().lastError?.includes("term 4 is older than 5") ?? false;
    });
    expect(plane.states.filter((state) => state.sessionId !== "session-1")).toEqual([]);
    expect(second.link()).toMatchObject({ state: "down", controllerTerm: "5" });
    expect(plane.registers.at(-1)).toMatchObject({ agentIncarnation: 2n, knownControllerTerm: 5n });
    plane.script = { ...SCRIPT, term: 6n };
    await until("the newer term is obeyed", () => second.link().controllerTerm === "6");
  });

  it("only observes an unknown store: it reports, and keeps the store it knows", async () => {
    const plane = await controlPlane();
    const agent = await startAgent(cleanup, { controlPlaneUrl: plane.url });
    await until("the link is up", () => agent.link().state === "up");
    const port = Number(new URL(plane.url).port);
    await plane.stop();
    plane.script = { ...SCRIPT, storeId: "store-2", term: 1n };
    await plane.start(cleanup, port);
    await until("state comes again", () => {
      return plane.states.some((state) => state.sessionId !== "session-1");
    });
    expect(agent.link()).toMatchObject({ state: "up", mode: "observe", storeId: "store-1" });
  });

  it("registers again when the control-plane ends the report stream", async () => {
    const plane = await controlPlane({ endReportAfter: 2 });
    const agent = await startAgent(cleanup, { controlPlaneUrl: plane.url });
    await until("it has registered twice", () => plane.registers.length >= 2);
    expect(agent.link().lastError).toContain("the test asks for a new registration");
  });

  it("says why it is not let in, and goes on trying", async () => {
    const plane = await controlPlane();
    const agent = await startAgent(cleanup, { controlPlaneUrl: plane.url, linkToken: "wrong" });
    await until("the refusal shows", () => {
      return agent.link().lastError?.startsWith("UNAUTHENTICATED") ?? false;
    });
    expect(plane.registers).toEqual([]);
  });

  it("finds a half-open link within 10 s and registers again", async () => {
    const plane = await controlPlane();
    const relay = await startRelay(Number(new URL(plane.url).port));
    const agent = await startAgent(cleanup, { controlPlaneUrl: relay.url });
    await until("the link is up", () => plane.states.length > 0);
    relay.freeze();
    const frozenAtMs = performance.now();
    await until("the link is down", () => agent.link().state === "down", 15_000);
    expect(performance.now() - frozenAtMs).toBeLessThan(10_000);
    relay.thaw();
    await until("it has registered again", () => plane.registers.length >= 2, 15_000);
  });

  it("stops within 2 s, linked, waiting, and while a control-plane never answers", async () => {
    const plane = await controlPlane();
    const mute = createServer(() => undefined);
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    cleanup.add(() => mute.close());
    const { port } = mute.address() as { port: number };
    for (const controlPlaneUrl of [plane.url, "http://127.0.0.1:9", `http://127.0.0.1:${port}`]) {
      const agent = await startAgent(cleanup, { controlPlaneUrl });
      if (controlPlaneUrl === plane.url) {
        await until("the link is up", () => agent.link().state === "up");
      }
      const begun = performance.now();
      await agent.stop();
      expect(performance.now() - begun).toBeLessThan(2_000);
    }
  });
});

/** A TCP relay that can stop relaying without closing anything. */
async function startRelay(target: number) {
  const pairs: [Socket, Socket][] = [];
  let frozen = false;
  const server = createServer((down) => {
    const up = connect(target, "127.0.0.1");
    pairs.push([down, up]);
    for (const [from, to] of [
      [down, up],
      [up, down],
    ] as const) {
      from.on("data", (data) => {
        if (!frozen) to.write(data);
      });
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanup.add(() => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    freeze: () => {
      frozen = true;
    },
    thaw: () => {
      frozen = false;
    },
  };
}
