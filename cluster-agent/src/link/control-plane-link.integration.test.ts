import { copyFile, rm } from "node:fs/promises";
import path from "node:path";
import { CommandSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHORIZED, Cleanup, nodeClient, startAgent } from "../testing/agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { registerRequest, until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const SCRIPT = { storeId: "store-1", term: 1n, snapshotWanted: true };

async function controlPlane(script: Partial<FakeControlPlane["script"]> = {}) {
  const plane = new FakeControlPlane({ ...SCRIPT, ...script });
  await plane.start(cleanup);
  return plane;
}

/** An agent that may enrol at the fake control-plane. */
const linked = (controlPlaneUrl: string, overrides: Parameters<typeof startAgent>[1] = {}) =>
  startAgent(cleanup, { controlPlaneUrl, enrolmentToken: LINK_TOKEN, ...overrides });

const echo = (commandId: string, fence = { storeId: "store-1", controllerTerm: 1n }) =>
  create(CommandSchema, {
    commandId,
    fence,
    timeoutMs: 10_000,
    order: { case: "echo", value: { text: "hello" } },
  });

describe("ControlPlaneLink", () => {
  it("registers, sends a snapshot, then changes, and telemetry apart", async () => {
    const plane = await controlPlane();
    const agent = await linked(plane.url);
    await until("a snapshot came", () => plane.states.length > 1);
    const [register] = plane.registers;
    expect(register).toMatchObject({
      clusterId: "c1",
      agentIncarnation: 1n,
      knownStoreId: "",
      agentVersion: "0.1.0",
      agentInstanceId: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    expect(register?.identity?.value).toMatch(/^[0-9a-f-]{32,36}:[0-9a-f-]{36}$/);
    expect(plane.states[0]).toMatchObject({ streamSeq: 1n, snapshot: false, entries: [] });
    expect(plane.states[1]).toMatchObject({
      sessionId: "session-1",
      streamSeq: 2n,
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
    await linked(plane.url);
    await until("reports came", () => plane.reports.length >= 4);
    expect(plane.reports.slice(0, 4).map((report) => report.streamSeq)).toEqual([1n, 2n, 3n, 4n]);
    expect(plane.reports[0]?.entries.map((entry) => entry.key)).toEqual(["metrics"]);
    expect(plane.reports[3]?.entries).toEqual([]);
  });

  it("sends no snapshot when the control-plane holds the state, but later changes", async () => {
    const plane = await controlPlane({ snapshotWanted: false });
    const agent = await linked(plane.url);
    await until("reports came", () => plane.reports.length > 0);
    expect(plane.states).toMatchObject([{ streamSeq: 1n, entries: [], snapshot: false }]);
    await agent.cluster.update({ tags: ["changed"] });
    await until("the change came", () => plane.states.length > 1);
    expect(plane.states[1]).toMatchObject({ streamSeq: 2n, snapshot: false });
    expect(plane.newest("cluster")).toMatchObject({ tags: ["changed"] });
  });

  it("resumes when the control-plane comes back with a higher term, with the newest state", async () => {
    const plane = await controlPlane();
    const agent = await linked(plane.url);
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

  it("only observes an older term of the store that it knows, over its own restart too", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane({ term: 5n });
    const first = await linked(plane.url, { dataDir });
    await until("the link is up", () => first.link().controllerTerm === "5");
    await first.stop();
    plane.script = { ...SCRIPT, term: 4n };
    const second = await linked(plane.url, { dataDir });
    await until("it observes", () => second.link().mode === "observe");
    expect(second.link()).toMatchObject({ state: "up", controllerTerm: "5" });
    expect(second.link().observes).toContain("restored from an older copy");
    expect(plane.registers.at(-1)).toMatchObject({ agentIncarnation: 2n, knownControllerTerm: 5n });
    await until("it reports all the same", () => {
      return plane.reports.some((report) => report.sessionId !== "session-1");
    });
    plane.order(echo("c1", { storeId: "store-1", controllerTerm: 4n }));
    await until("it refuses the order", () => plane.completions.length > 0);
    expect(plane.completions[0]?.outcome.value).toMatchObject({ reason: "PRECONDITION_FAILED" });
    await plane.stop();
    plane.script = { ...SCRIPT, term: 6n };
    await plane.start(cleanup, Number(new URL(second.link().controlPlaneUrl).port));
    await until("the newer term is obeyed", () => second.link().controllerTerm === "6");
    expect(second.link()).toMatchObject({ mode: "obey" });
  });

  it("only observes an unknown store: it reports, and keeps the store it knows", async () => {
    const plane = await controlPlane();
    const agent = await linked(plane.url);
    await until("the link is up", () => agent.link().state === "up");
    const port = Number(new URL(plane.url).port);
    await plane.stop();
    plane.script = { ...SCRIPT, storeId: "store-2", term: 1n };
    await plane.start(cleanup, port);
    await until("state comes again", () => {
      return plane.states.some((state) => state.sessionId !== "session-1");
    });
    expect(agent.link()).toMatchObject({ state: "up", mode: "observe", storeId: "store-1" });
    expect(agent.link().observes).toContain("`berth fleet adopt`");
  });

  it("obeys a store that took the place of the one it knows, and remembers it", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane();
    const first = await linked(plane.url, { dataDir });
    await until("the link is up", () => first.link().storeId === "store-1");
    await first.stop();
    plane.script = { ...SCRIPT, storeId: "store-2", adoptedStoreIds: ["store-0", "store-1"] };
    const second = await linked(plane.url, { dataDir });
    await until("it obeys", () => second.link().storeId === "store-2");
    expect(second.link()).toMatchObject({ mode: "obey", controllerTerm: "1" });
    await second.stop();
    plane.script = SCRIPT;
    const third = await linked(plane.url, { dataDir });
    await until("the former store is unknown now", () => third.link().mode === "observe");
  });

  it("registers again when the control-plane ends the report stream", async () => {
    const plane = await controlPlane({ endReportAfter: 2 });
    const agent = await linked(plane.url);
    await until("it has registered twice", () => plane.registers.length >= 2);
    await until("its coming back is counted", () => agent.link().reconnects >= 1);
    expect(agent.link().lastError).toContain("the test asks for a new registration");
  });

  it("says why it is not let in, and goes on trying", async () => {
    const plane = await controlPlane();
    const agent = await linked(plane.url, { enrolmentToken: "" });
    await until("the refusal shows", () => {
      return agent.link().lastError?.includes("`berth token create`") ?? false;
    });
    expect(agent.link().lastError).toMatch(/^UNAUTHENTICATED: /);
    const wrong = await linked(plane.url, { enrolmentToken: `berth1.${"X".repeat(43)}` });
    await until("the refused enrolment shows", () => {
      return wrong.link().lastError?.includes("enrolment refused: ") ?? false;
    });
    expect(plane.registers).toEqual([]);
  });

  it("enrols once with its token, then shows its own key over restarts, and again when it was forgotten", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane();
    const first = await linked(plane.url, { dataDir });
    await until("the link is up", () => first.link().state === "up");
    const [enrolment] = plane.enrolments;
    const value = plane.registers[0]?.identity?.value;
    expect(enrolment).toMatchObject({ subjectId: "c1", identity: `process:${value}` });
    await first.stop();
    const second = await linked(plane.url, { dataDir, enrolmentToken: "" });
    await until("the link is up", () => second.link().state === "up");
    expect(plane.enrolments).toHaveLength(1);
    await second.stop();
    plane.forgetKeys();
    const third = await linked(plane.url, { dataDir });
    await until("the link is up", () => third.link().state === "up");
    expect(plane.enrolments.map(({ keySha256 }) => keySha256)).toEqual([
      enrolment?.keySha256,
      enrolment?.keySha256,
    ]);
  });

  it("waits connected until its snapshot is admitted, and reports only behind it", async () => {
    const plane = await controlPlane({ holdsSnapshots: true });
    const agent = await linked(plane.url);
    await until("the stream is open", () => plane.states.length === 1);
    await agent.cluster.update({ tags: ["while-waiting"] });
    expect(plane.states).toHaveLength(1);
    expect(plane.reports).toEqual([]);
    plane.admit();
    await until("the change came", () => {
      return (plane.newest("cluster") as { tags: string[] } | undefined)?.tags[0] !== undefined;
    });
    expect(plane.states[1]).toMatchObject({ snapshot: true, snapshotEnd: true });
    await until("reports came", () => plane.reports.length > 0);
    expect(plane.registers).toHaveLength(1);
  });

  it("carries out a command once, though it is offered on every stream and its answer gets lost", async () => {
    const dataDir = await cleanup.directory();
    const plane = await controlPlane({ losesCompletions: 2 });
    const first = await linked(plane.url, { dataDir });
    await until("the commands are open", () => plane.commandSessions.length === 1);
    plane.order(echo("c1"));
    plane.order(echo("c1"));
    await until("it has answered until it was heard", () => plane.completions.length >= 3);
    await first.stop();
    const second = await linked(plane.url, { dataDir });
    await until("the commands are open again", () => plane.commandSessions.length === 1);
    plane.order(echo("c1"));
    await until("it has answered again", () => plane.completions.length >= 4);
    await second.stop();
    const answers = plane.completions.map(({ outcome }) => outcome.value);
    expect(new Set(answers)).toEqual(new Set(['{"text":"hello","runs":1}']));
  });

  it("sends events until they are acknowledged, over reconnects, in order", async () => {
    const plane = await controlPlane({ losesEvents: true });
    const agent = await linked(plane.url);
    await nodeClient(cleanup, agent).register(registerRequest(), AUTHORIZED);
    await until("an event came", () => plane.events.length > 0);
    const port = Number(new URL(plane.url).port);
    await plane.stop();
    plane.script = SCRIPT;
    await plane.start(cleanup, port);
    await until("it came again", () => plane.events.length > 1);
    const [first, second] = plane.events;
    expect(first).toMatchObject({ kind: "node_joined", key: "node/node-a" });
    expect(second).toMatchObject({ eventId: first?.eventId, json: first?.json });
    const { length } = plane.events;
    const reports = plane.reports.length;
    await until("the stream went on", () => plane.reports.length > reports + 3);
    expect(plane.events).toHaveLength(length);
  });

  it("reports with new revisions when its own store was restored from an older copy", async () => {
    const dataDir = await cleanup.directory();
    const file = path.join(dataDir, "cluster.db");
    const plane = await controlPlane();
    const first = await linked(plane.url, { dataDir });
    await until("the link is up", () => first.link().state === "up");
    await first.stop();
    await copyFile(file, `${file}.copy`);
    const second = await linked(plane.url, { dataDir });
    await until("the link is up", () => second.link().state === "up");
    await second.stop();
    for (const end of ["", "-wal", "-shm"]) await rm(`${file}${end}`, { force: true });
    await copyFile(`${file}.copy`, file);
    const third = await linked(plane.url, { dataDir });
    await until("the link is up", () => third.link().state === "up");
    const [, before, after] = plane.registers.slice(-3);
    expect(after?.agentIncarnation).toBe(before?.agentIncarnation);
    expect(after?.agentInstanceId).not.toBe(before?.agentInstanceId);
    expect(after?.identity).toEqual(before?.identity);
  });
});
