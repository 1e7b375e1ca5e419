import { CommandSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHORIZED, Cleanup, nodeClient, startAgent } from "../testing/agent.ts";
import { FakeControlPlane, LINK_TOKEN } from "../testing/fake-control-plane.ts";
import { registerRequest, until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const SCRIPT = { storeId: "store-1", term: 1n, snapshotWanted: true };
const FENCE = { storeId: "store-1", controllerTerm: 1n };
const order = { case: "echo", value: { text: "hello" } } as const;

describe("events that the control-plane does not take", () => {
  it("are kept and sent again, while everything else goes on", async () => {
    const plane = new FakeControlPlane({ ...SCRIPT, eventsRefused: "the disk is full" });
    await plane.start(cleanup);
    const agent = await startAgent(cleanup, {
      controlPlaneUrl: plane.url,
      enrolmentToken: LINK_TOKEN,
    });
    await nodeClient(cleanup, agent).register(registerRequest(), AUTHORIZED);
    await until("it was sent twice", () => plane.events.length >= 2);
    const { length } = plane.reports;
    await agent.cluster.update({ tags: ["meanwhile"] });
    plane.order(create(CommandSchema, { commandId: "c1", fence: FENCE, timeoutMs: 10_000, order }));
    await until("state goes on", () => {
      return (plane.newest("cluster") as { tags: string[] }).tags[0] === "meanwhile";
    });
    await until("telemetry goes on", () => plane.reports.length > length + 3);
    await until("commands go on", () => plane.completions.length === 1);
    plane.script = SCRIPT;
    const refused = plane.events.length;
    await until("it comes once more", () => plane.events.length > refused);
    const reports = plane.reports.length;
    await until("the stream went on", () => plane.reports.length > reports + 20);
    expect(plane.events).toHaveLength(refused + 1);
    expect(new Set(plane.events.map(({ eventId }) => eventId)).size).toBe(1);
    expect(plane.registers).toHaveLength(1);
  });

  it("are sent at once by the next session, once they are taken", async () => {
    const plane = new FakeControlPlane({ ...SCRIPT, eventsRefused: "the disk is full" });
    await plane.start(cleanup);
    const dataDir = await cleanup.directory();
    const settings = { controlPlaneUrl: plane.url, enrolmentToken: LINK_TOKEN, dataDir };
    const agent = await startAgent(cleanup, settings);
    await nodeClient(cleanup, agent).register(registerRequest(), AUTHORIZED);
    await until("it was sent", () => plane.events.length > 0);
    await agent.stop();
    plane.script = SCRIPT;
    const before = plane.events.length;
    await startAgent(cleanup, settings);
    await until("it came again", () => plane.events.length > before);
    expect(plane.events.at(-1)?.eventId).toBe(plane.events[0]?.eventId);
  });
});
