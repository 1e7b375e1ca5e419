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

const KEY = "B".repeat(43);
const NODE_B = { id: "node-b", key: KEY, machineId: "machine-b" };
const REGISTER_B = registerRequest({
  nodeId: "node-b",
  fingerprint: fingerprint({ machineId: "machine-b" }),
});

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => Promise.reject(new Error("the call was expected to fail")),
    (thrown: unknown) => ConnectError.from(thrown),
  );
}

async function request(
  agent: ClusterAgent,
  method: "POST" | "GET" | "DELETE",
  url: string,
  body?: object,
) {
  const headers = { host: "localhost", ...(body ? { "content-type": "application/json" } : {}) };
  const payload = body === undefined ? {} : { payload: JSON.stringify(body) };
  const answer = await agent.http.inject({ method, url, headers, ...payload });
  return { status: answer.statusCode, body: answer.json() };
}

/** A token that REST has made. */
async function aToken(agent: ClusterAgent, body: object): Promise<string> {
  return (await request(agent, "POST", "/tokens", body)).body.data.token;
}

describe("enrolment of nodes", () => {
  it("gives a node a key of its own for a token that REST has made, once", async () => {
    const agent = await startAgent(cleanup, {});
    const made = await request(agent, "POST", "/tokens", { node_id: "node-b", label: "rack 7" });
    expect(made).toMatchObject({ status: 201, body: { data: { node_id: "node-b", uses: 0 } } });
    const { token, id } = made.body.data;
    const client = nodeClient(cleanup, agent);
    const before = await failure(
      client.register(REGISTER_B, { headers: { authorization: `Bearer ${KEY}` } }),
    );
    expect(before.code).toBe(Code.Unauthenticated);
    const wrongNode = { ...NODE_B, id: "node-c", token };
    expect(await failure(enrolNode(cleanup, agent, wrongNode))).toMatchObject({
      code: Code.PermissionDenied,
    });
    const headers = await enrolNode(cleanup, agent, { ...NODE_B, token });
    expect(await client.register(REGISTER_B, headers)).toMatchObject({ nodeId: "node-b" });
    const second = { ...NODE_B, id: "node-b", key: "C".repeat(43), token };
    expect(await failure(enrolNode(cleanup, agent, second))).toMatchObject({
      code: Code.Unauthenticated,
      rawMessage: expect.stringContaining("is spent"),
    });
    const listed = await request(agent, "GET", "/tokens");
    expect(listed.body.data).toMatchObject([{ id, uses: 1 }]);
    expect(JSON.stringify(listed.body)).not.toContain(token);
    expect(await request(agent, "DELETE", `/tokens/${id}`)).toMatchObject({ status: 200 });
  });

  it.each(["", "Bearer ", "Bearer short", KEY])(
    "refuses Enrol with the header %j",
    async (header) => {
      const agent = await startAgent(cleanup, {});
      const token = header.replace("Bearer ", "");
      const refused = await failure(enrolNode(cleanup, agent, { ...NODE_B, token }));
      expect(refused.code).toBe(Code.Unauthenticated);
    },
  );

  it("refuses to start with a malformed local token and does not show it", async () => {
    const started = startAgent(cleanup, { localToken: "not-a-token" });
    const thrown = await started.catch((error: Error) => error.message);
    expect(thrown).toContain("BERTH_LOCAL_TOKEN");
    expect(thrown).not.toContain("not-a-token");
  });

  it("keeps keys over a restart", async () => {
    const dataDir = await cleanup.directory();
    const first = await startAgent(cleanup, { dataDir });
    const headers = await enrolNode(cleanup, first, NODE_B);
    await first.stop();
    const second = await startAgent(cleanup, { dataDir });
    await nodeClient(cleanup, second).register(REGISTER_B, headers);
    expect(second.nodes.view("node-b")?.liveness).toBe("live");
  });
});

describe("a node's key", () => {
  it("speaks for its own node and machine only", async () => {
    const agent = await startAgent(cleanup, {});
    const headers = await enrolNode(cleanup, agent, NODE_B);
    const client = nodeClient(cleanup, agent);
    for (const claimed of [
      registerRequest(),
      registerRequest({ nodeId: "node-b" }),
      registerRequest({ nodeId: "node-c", fingerprint: fingerprint({ machineId: "machine-b" }) }),
    ]) {
      expect(await failure(client.register(claimed, headers))).toMatchObject({
        code: Code.PermissionDenied,
      });
    }
    expect(agent.nodes.views()).toEqual([]);
  });

  it("reports for its own registration only", async () => {
    const agent = await startAgent(cleanup, {});
    const headers = await enrolNode(cleanup, agent, NODE_B);
    const client = nodeClient(cleanup, agent);
    const { registrationId } = await client.register(registerRequest(), AUTHORIZED);
    await client.register(REGISTER_B, headers);
    const outgoing = new Outgoing<NodeReportRequest>();
    cleanup.add(() => outgoing.end());
    const message = { registrationId, streamSeq: 1n, host: hostSample() };
    outgoing.send(create(NodeReportRequestSchema, message));
    expect(await failure(client.report(outgoing, headers))).toMatchObject({
      code: Code.PermissionDenied,
    });
    expect(agent.nodes.view("node-a")?.host).toBeUndefined();
  });

  it("ends with its open stream as soon as another one is enrolled", async () => {
    const agent = await startAgent(cleanup, {});
    const client = nodeClient(cleanup, agent);
    const headers = await enrolNode(cleanup, agent, NODE_B);
    const { registrationId } = await client.register(REGISTER_B, headers);
    const outgoing = new Outgoing<NodeReportRequest>();
    cleanup.add(() => outgoing.end());
    const report = failure(client.report(outgoing, headers));
    const message = { registrationId, streamSeq: 1n, host: hostSample() };
    outgoing.send(create(NodeReportRequestSchema, message));
    await until("the report was read", () => agent.nodes.view("node-b")?.host !== undefined);
    // Nothing more is sent: the stream must not live until its next message.
    const token = await aToken(agent, { node_id: "node-b" });
    await enrolNode(cleanup, agent, { ...NODE_B, key: "C".repeat(43), token });
    const ended = await report;
    expect(ended).toMatchObject({ code: Code.Unauthenticated });
    expect(ended.rawMessage).toContain("the key of the node has ended");
    expect((await failure(client.register(REGISTER_B, headers))).code).toBe(Code.Unauthenticated);
  });
});

describe("duplicates over the wire", () => {
  const copy = registerRequest({
    agentInstanceId: "instance-b",
    fingerprint: fingerprint({ bootId: "boot-2" }),
  });

  it("are refused until an operator picks one over REST", async () => {
    const duplicateRules = { liveMs: 60_000, overlapMs: 50 };
    const agent = await startAgent(cleanup, {}, { duplicateRules });
    const client = nodeClient(cleanup, agent);
    await client.register(registerRequest(), AUTHORIZED);
    const codes = new Set<Code>();
    await until("both are refused", async () => {
      codes.add((await failure(client.register(copy, AUTHORIZED))).code);
      if (agent.nodes.duplicates("node-a")?.state === "duplicate") return true;
      await client.register(registerRequest(), AUTHORIZED).catch(() => undefined);
      return false;
    });
    expect(await failure(client.register(copy, AUTHORIZED))).toMatchObject({
      code: Code.AlreadyExists,
    });
    expect(codes).toContain(Code.Unavailable);
    const refused = await failure(client.register(registerRequest(), AUTHORIZED));
    expect(refused.code).toBe(Code.AlreadyExists);
    expect(refused.rawMessage).toContain("POST /nodes/node-a/pick");
    const listed = await request(agent, "GET", "/nodes/node-a/duplicates");
    expect(listed).toMatchObject({
      status: 200,
      body: { data: { node_id: "node-a", state: "duplicate" } },
    });
    const byId = new Map(
      listed.body.data.candidates.map((one: Record<string, unknown>) => [
        one.agent_instance_id,
        one,
      ]),
    );
    expect(byId.get("instance-b")).toMatchObject({
      boot_id: "boot-2",
      node_incarnation: 1,
      address: expect.stringContaining("127.0.0.1"),
      age_ms: expect.any(Number),
      verdict: "undecided",
    });
    expect(agent.cluster.document().nodes.nodeData[0]?.free_gpus).toBe(0);
    const picked = await request(agent, "POST", "/nodes/node-a/pick", { boot_id: "boot-2" });
    expect(picked).toMatchObject({ status: 200, body: { data: { state: "picked" } } });
    expect((await failure(client.register(registerRequest(), AUTHORIZED))).code).toBe(
      Code.AlreadyExists,
    );
    await client.register(copy, AUTHORIZED);
    expect(agent.nodes.view("node-a")?.liveness).toBe("live");
  });

  it("are refused both when the second one goes on asking beside the first one's open stream", async () => {
    const duplicateRules = { liveMs: 60_000, overlapMs: 300 };
    const agent = await startAgent(cleanup, {}, { duplicateRules });
    const [first, second] = [nodeClient(cleanup, agent), nodeClient(cleanup, agent)];
    const { registrationId } = await first.register(registerRequest(), AUTHORIZED);
    const outgoing = new Outgoing<NodeReportRequest>();
    cleanup.add(() => outgoing.end());
    let streamSeq = 0n;
    const report = () => {
      streamSeq += 1n;
      const message = { registrationId, streamSeq, host: hostSample() };
      outgoing.send(create(NodeReportRequestSchema, message));
    };
    const stream = failure(first.report(outgoing, AUTHORIZED));
    report();
    await until("the stream is open", () => agent.nodes.view("node-a")?.host !== undefined);
    const later = registerRequest({ nodeIncarnation: 9n, agentInstanceId: "instance-b" });
    const codes: Code[] = [];
    await until("the second one is refused for good", async () => {
      report();
      codes.push((await failure(second.register(later, AUTHORIZED))).code);
      return codes.at(-1) === Code.AlreadyExists;
    });
    expect(new Set(codes)).toEqual(new Set([Code.Unavailable, Code.AlreadyExists]));
    // Its stream was never another one's before that.
    expect(await stream).toMatchObject({
      code: Code.Aborted,
      rawMessage: expect.stringContaining("two agents"),
    });
    expect((await failure(first.register(registerRequest(), AUTHORIZED))).code).toBe(
      Code.AlreadyExists,
    );
  });

  it.each([
    ["an unknown node", "/nodes/nobody/pick", { boot_id: "b" }, 404, "NOT_FOUND"],
    [
      "a node without duplicates",
      "/nodes/node-a/pick",
      { boot_id: "b" },
      400,
      "PRECONDITION_FAILED",
    ],
    ["a bad type", "/nodes/node-a/pick", { boot_id: 7 }, 400, "INVALID_ARGUMENT"],
    ["an unknown field", "/nodes/node-a/pick", { node: "x" }, 400, "INVALID_ARGUMENT"],
  ])("cannot be picked for %s", async (_what, url, body, status, reason) => {
    const agent = await startAgent(cleanup, {});
    await nodeClient(cleanup, agent).register(registerRequest(), AUTHORIZED);
    const answer = await request(agent, "POST", url, body);
    expect(answer).toMatchObject({ status, body: { success: false, reason } });
    expect((await request(agent, "GET", "/nodes/nobody/duplicates")).status).toBe(404);
  });
});
