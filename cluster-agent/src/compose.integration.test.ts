import { type LogFields, type Logger, silentLogger } from "@berth/service-kit";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { AUTHORIZED, Cleanup, enrolNode, nodeClient, startAgent } from "./testing/agent.ts";
import { registerRequest, until } from "./testing/fixtures.ts";
import { LeapingClock } from "./testing/leaping-clock.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const TTL_MS = 2_000;

/** Warnings about nodes, with the time at which each came. */
function hearing() {
  const heard: { atMs: number; message: string; fields: LogFields }[] = [];
  const warn = (message: string, fields: LogFields = {}) => {
    heard.push({ atMs: performance.now(), message, fields });
  };
  const logger: Logger = { ...silentLogger, warn, child: () => logger };
  return { heard, logger };
}

describe("a composed cluster-agent", () => {
  it("counts the silence of its nodes from the end of a time in which it was kept from its work", async () => {
    const clock = new LeapingClock();
    const { heard, logger } = hearing();
    const agent = await startAgent(cleanup, { nodeTtlMs: TTL_MS }, { clock, logger });
    await nodeClient(cleanup, agent).register(registerRequest(), AUTHORIZED);
    const resumedAtMs = performance.now();
    clock.leap(22_000);
    const lost = () => heard.find(({ fields }) => fields.to === "telemetry_lost");
    await until("the node is silent for the TTL", () => lost() !== undefined);
    expect((lost()?.atMs ?? 0) - resumedAtMs).toBeGreaterThan(TTL_MS);
    // What was lost before is not excused: it is not there again without a word of its own.
    clock.leap(22_000);
    const { version } = agent.nodes;
    await expect(
      until("the node came back by itself", () => agent.nodes.version !== version, 600),
    ).rejects.toThrow("not within");
    expect(agent.nodes.view("node-a")?.liveness).toBe("telemetry_lost");
  });

  it("tells that another machine enrols under the id of a node, once until the node was there again", async () => {
    const { heard, logger } = hearing();
    const agent = await startAgent(cleanup, {}, { logger });
    const client = nodeClient(cleanup, agent);
    await client.register(registerRequest(), AUTHORIZED);
    const second = { id: "node-a", key: "O".repeat(43), machineId: "machine-b" };
    const claim = async () => {
      const refused = await enrolNode(cleanup, agent, second).catch(ConnectError.from);
      expect(refused).toMatchObject({ code: Code.AlreadyExists });
    };
    const told = () => heard.filter(({ message }) => message === "a second machine claims a node");
    await claim();
    await claim();
    expect(told()).toHaveLength(1);
    expect(told()[0]?.fields).toMatchObject({ node: "node-a", reason: "ALREADY_EXISTS" });
    await client.register(registerRequest(), AUTHORIZED);
    await claim();
    expect(told()).toHaveLength(2);
  });
});
