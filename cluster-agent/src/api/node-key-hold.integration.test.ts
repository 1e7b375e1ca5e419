import { type NodeReportRequest, NodeReportRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import type { ClusterAgent } from "../compose.ts";
import { Cleanup, enrolNode, nodeClient, Outgoing, startAgent } from "../testing/agent.ts";
import { fingerprint, hostSample, registerRequest, until } from "../testing/fixtures.ts";
import { LeapingClock } from "../testing/leaping-clock.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** The longest of TTL and reconnect cap, and the margin, ms. */
const HOLD_MS = 25_000;
const FIRST = { id: "node-b", key: "B".repeat(43), machineId: "machine-b" };
/** Another process of the same machine, or a copy of it, with a key of its own. */
const OTHER = { ...FIRST, key: "C".repeat(43) };
const registers = (agentInstanceId: string, bootId = "boot-1") =>
  registerRequest({
    ...{ nodeId: "node-b", agentInstanceId },
    fingerprint: fingerprint({ machineId: "machine-b", bootId }),
  });

async function codeOf(call: Promise<unknown>): Promise<Code | "taken"> {
  return call.then(
    () => "taken",
    (thrown: unknown) => ConnectError.from(thrown).code,
  );
}

async function post(agent: ClusterAgent, url: string, payload: object) {
  const headers = { host: "localhost" };
  const answer = await agent.http.inject({ method: "POST", url, headers, payload });
  return answer.json().data;
}

const tokenFor = async (agent: ClusterAgent, body: object): Promise<string> =>
  (await post(agent, "/tokens", body)).token;

/** An agent on a clock that leaps, and node-b with its key. */
async function opened() {
  const clock = new LeapingClock();
  const dataDir = await cleanup.directory();
  const agent = await startAgent(cleanup, { dataDir }, { clock });
  const token = await tokenFor(agent, { max_uses: 16 });
  const headers = await enrolNode(cleanup, agent, { ...FIRST, token });
  const enrol = (node: typeof FIRST & { readonly token?: string }) =>
    codeOf(enrolNode(cleanup, agent, { token, ...node }));
  const register = (message: ReturnType<typeof registers>) =>
    codeOf(nodeClient(cleanup, agent).register(message, headers));
  return { agent, clock, dataDir, token, headers, enrol, register };
}

describe("the key of a node that has fallen silent", () => {
  it("stays for the time in which its agent may come back, then a machine that lost its state gets in", async () => {
    const { agent, clock, enrol, register } = await opened();
    expect(await register(registers("a1"))).toBe("taken");
    for (const leapMs of [0, 12_000, 12_000]) {
      clock.leap(leapMs);
      expect(await enrol(OTHER)).toBe(Code.Unavailable);
    }
    clock.leap(HOLD_MS - 24_000);
    expect(await enrol(OTHER)).toBe("taken");
    expect(await register(registers("a1"))).toBe(Code.Unauthenticated);
    const headers = { headers: { authorization: `Bearer ${OTHER.key}` } };
    await nodeClient(cleanup, agent).register(registers("fresh"), headers);
    expect(agent.nodes.view("node-b")?.liveness).toBe("live");
  });

  it("stays while its stream is open, however long nothing came on it", async () => {
    const { agent, clock, headers, enrol } = await opened();
    const client = nodeClient(cleanup, agent);
    const { registrationId } = await client.register(registers("a1"), headers);
    const outgoing = new Outgoing<NodeReportRequest>();
    cleanup.add(() => outgoing.end());
    client.report(outgoing, headers).catch(() => undefined);
    const message = { registrationId, streamSeq: 1n, host: hostSample() };
    outgoing.send(create(NodeReportRequestSchema, message));
    await until("the stream is open", () => agent.nodes.view("node-b")?.host !== undefined);
    clock.leap(10 * HOLD_MS);
    expect(await enrol(OTHER)).toBe(Code.Unavailable);
    outgoing.end();
  });

  it("stays over our own restart for as long, also when its agent has never registered", async () => {
    const { agent, dataDir, token } = await opened();
    await agent.stop();
    const clock = new LeapingClock();
    const again = await startAgent(cleanup, { dataDir }, { clock });
    const enrol = (node: typeof FIRST) => codeOf(enrolNode(cleanup, again, { ...node, token }));
    expect(await enrol(OTHER)).toBe(Code.Unavailable);
    // The reply to its own enrolment may have been lost.
    expect(await enrol(FIRST)).toBe("taken");
    clock.leap(HOLD_MS);
    expect(await enrol(OTHER)).toBe("taken");
  });

  it("is replaced by one of two that ask at the same moment, not by both", async () => {
    const { clock, enrol, register } = await opened();
    expect(await register(registers("a1"))).toBe("taken");
    clock.leap(HOLD_MS);
    const asked = [OTHER, { ...OTHER, key: "D".repeat(43) }].map((node) => enrol(node));
    expect((await Promise.all(asked)).sort()).toEqual([Code.Unavailable, "taken"]);
  });

  it("is replaced at once by a token that was made for the node", async () => {
    const { agent, enrol, register } = await opened();
    expect(await register(registers("a1"))).toBe("taken");
    const token = await tokenFor(agent, { node_id: "node-b" });
    expect(await enrol({ ...OTHER, token })).toBe("taken");
    expect(await register(registers("a1"))).toBe(Code.Unauthenticated);
  });
});

describe("the key of a node that had duplicates", () => {
  it("is replaced by no token but one that was made for the node, before and after the pick", async () => {
    const { agent, clock, enrol, register } = await opened();
    expect(await register(registers("a1"))).toBe("taken");
    const copy = registers("d1", "boot-2");
    await until("both are refused", async () => {
      clock.leap(6_000);
      await register(copy);
      await register(registers("a1"));
      return agent.nodes.duplicates("node-b")?.state === "duplicate";
    });
    clock.leap(10 * HOLD_MS);
    expect(await enrol(OTHER)).toBe(Code.PermissionDenied);
    await post(agent, "/nodes/node-b/pick", { agent_instance_id: "a1" });
    // The picked machine boots: for so long nothing is heard of it.
    clock.leap(10 * HOLD_MS);
    expect(await enrol(OTHER)).toBe(Code.PermissionDenied);
    expect(await register(registers("a1", "boot-3"))).toBe("taken");
    expect(await entersAs(agent, OTHER.key)).toBe("taken");
  });

  it("is replaced by a token that was made for the node while nobody has picked, and the node is one again", async () => {
    const { agent, clock, register } = await opened();
    expect(await register(registers("a1"))).toBe("taken");
    await until("both are refused", async () => {
      clock.leap(6_000);
      await register(registers("d1", "boot-2"));
      await register(registers("a1"));
      return agent.nodes.duplicates("node-b")?.state === "duplicate";
    });
    expect(await entersAs(agent, OTHER.key)).toBe("taken");
    expect(agent.nodes.duplicates("node-b")).toEqual({ state: "clear", candidates: [] });
    expect(agent.nodes.view("node-b")?.liveness).toBe("live");
  });
});

/** A machine without any state enrols with a token for node-b, and registers. */
async function entersAs(agent: ClusterAgent, key: string): Promise<Code | "taken"> {
  const token = await tokenFor(agent, { node_id: "node-b" });
  await enrolNode(cleanup, agent, { ...FIRST, key, token });
  const headers = { headers: { authorization: `Bearer ${key}` } };
  return codeOf(nodeClient(cleanup, agent).register(registers("fresh", "boot-9"), headers));
}
