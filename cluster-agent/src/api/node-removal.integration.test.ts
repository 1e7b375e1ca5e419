import { type NodeReportRequest, NodeReportRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import type { ClusterAgent } from "../compose.ts";
import {
  AUTHORIZED,
  Cleanup,
  enrolNode,
  nodeClient,
  Outgoing,
  startAgent,
} from "../testing/agent.ts";
import { fingerprint, hostSample, registerRequest, until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const failure = (call: Promise<unknown>): Promise<ConnectError> =>
  call.then(
    () => Promise.reject(new Error("the call was expected to fail")),
    (thrown: unknown) => ConnectError.from(thrown),
  );

async function remove(agent: ClusterAgent, path: string) {
  const url = `/nodes/${path}`;
  const answer = await agent.http.inject({ method: "DELETE", url, headers: { host: "localhost" } });
  return { status: answer.statusCode, body: answer.json() };
}

const other = { id: "node-a", key: "O".repeat(43), machineId: "machine-b" };

/** The other machine takes the id. */
async function registerOther(agent: ClusterAgent): Promise<void> {
  const headers = await enrolNode(cleanup, agent, other);
  const request = registerRequest({ fingerprint: fingerprint({ machineId: "machine-b" }) });
  await nodeClient(cleanup, agent).register(request, headers);
  expect(agent.nodes.view("node-a")?.inventory.machineId).toBe("machine-b");
}

/** An agent whose node-a reports on an open stream. */
async function reporting() {
  const agent = await startAgent(cleanup, {});
  const client = nodeClient(cleanup, agent);
  const { registrationId } = await client.register(registerRequest(), AUTHORIZED);
  const outgoing = new Outgoing<NodeReportRequest>();
  cleanup.add(() => outgoing.end());
  const stream = failure(client.report(outgoing, AUTHORIZED));
  const message = { registrationId, streamSeq: 1n, host: hostSample() };
  outgoing.send(create(NodeReportRequestSchema, message));
  await until("the report was read", () => agent.nodes.view("node-a")?.host !== undefined);
  return { agent, client, stream };
}

describe("removing a node", () => {
  it("is refused while its agent is connected, and cuts the agent off when it is forced", async () => {
    const { agent, client, stream } = await reporting();
    const refused = await remove(agent, "node-a");
    expect(refused).toMatchObject({ status: 400, body: { reason: "PRECONDITION_FAILED" } });
    expect(refused.body.message).toContain("?force=true (`berth delete node node-a --force`)");
    expect(agent.nodes.view("node-a")?.liveness).toBe("live");
    const removed = await remove(agent, "node-a?force=true");
    expect(removed).toMatchObject({ status: 200, body: { data: { message: "Node deleted" } } });
    expect(await stream).toMatchObject({ code: Code.Unauthenticated });
    expect(agent.nodes.views()).toEqual([]);
    expect(agent.cluster.document().nodes.nodeData).toEqual([]);
    expect((await failure(client.register(registerRequest(), AUTHORIZED))).code).toBe(
      Code.Unauthenticated,
    );
    expect(await remove(agent, "node-a")).toMatchObject({ status: 404 });
  });

  it("frees the id for another machine, over a restart too", async () => {
    const dataDir = await cleanup.directory();
    const first = await startAgent(cleanup, { dataDir });
    await nodeClient(cleanup, first).register(registerRequest(), AUTHORIZED);
    expect((await failure(enrolNode(cleanup, first, other))).code).toBe(Code.AlreadyExists);
    expect(await remove(first, "node-a")).toMatchObject({ status: 200 });
    await first.stop();
    const second = await startAgent(cleanup, { dataDir, nodeHost: "127.0.0.1" });
    expect(second.nodes.views()).toEqual([]);
    await registerOther(second);
  });

  it("frees an id whose agent has enrolled and never registered", async () => {
    const agent = await startAgent(cleanup, {});
    expect(await remove(agent, "node-a")).toMatchObject({ status: 200 });
    await registerOther(agent);
  });

  it.each([
    ["nobody", 404, "NOT_FOUND"],
    ["node-a?force=yes", 400, "INVALID_ARGUMENT"],
    ["node-a?other=1", 400, "INVALID_ARGUMENT"],
  ])("of %s is refused", async (path, status, reason) => {
    const agent = await startAgent(cleanup, {});
    expect(await remove(agent, path)).toMatchObject({ status, body: { reason } });
  });
});
