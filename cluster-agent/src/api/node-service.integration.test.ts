import { type NodeReportRequest, NodeReportRequestSchema } from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import {
  AUTHORIZED,
  Cleanup,
  enrolNode,
  LOCAL_TOKEN,
  nodeClient,
  Outgoing,
  startAgent,
} from "../testing/agent.ts";
import { fingerprint, gpuSample, hostSample, registerRequest, until } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const withGpus = (...gpus: string[]) => registerRequest({ fingerprint: fingerprint({ gpus }) });

async function joined(nodeTtlMs = 15_000) {
  const agent = await startAgent(cleanup, { nodeTtlMs });
  const client = nodeClient(cleanup, agent);
  const answer = await client.register(withGpus("GPU-1"), AUTHORIZED);
  return { agent, client, answer };
}

type Joined = Awaited<ReturnType<typeof joined>>;

function openReport(
  { client, answer }: Pick<Joined, "client" | "answer">,
  headers: { headers: Record<string, string> } = AUTHORIZED,
) {
  const outgoing = new Outgoing<NodeReportRequest>();
  cleanup.add(() => outgoing.end());
  const cutting = new AbortController();
  const result = client.report(outgoing, { ...headers, signal: cutting.signal });
  const settled = result.then(
    ({ reason }) => reason,
    (thrown: unknown) => ConnectError.from(thrown),
  );
  let streamSeq = 0n;
  const send = (init: MessageInitShape<typeof NodeReportRequestSchema> = {}) => {
    streamSeq += 1n;
    const { registrationId } = answer;
    outgoing.send(create(NodeReportRequestSchema, { registrationId, streamSeq, ...init }));
  };
  return { send, settled, end: () => outgoing.end(), cut: () => cutting.abort() };
}

async function code(call: Promise<unknown>): Promise<Code | undefined> {
  try {
    await call;
    return undefined;
  } catch (thrown) {
    return ConnectError.from(thrown).code;
  }
}

describe("NodeService over HTTP/2", () => {
  it("registers a node and takes its reports in", async () => {
    const { agent, client, answer } = await joined();
    expect(answer).toMatchObject({
      nodeId: "node-a",
      clusterId: "c1",
      gpuIntervalMs: 1_000,
      hostIntervalMs: 5_000,
      ttlMs: 15_000,
    });
    expect(answer.registrationId).toMatch(/^[0-9a-f-]{36}$/);
    const stream = openReport({ client, answer });
    stream.send({ host: hostSample(), gpus: [gpuSample("GPU-1")] });
    await until("the sample is there", () => agent.nodes.view("node-a")?.host !== undefined);
    stream.send({ fingerprint: fingerprint({ gpus: ["GPU-2", "GPU-1"] }) });
    await until("the new GPU is there", () => agent.nodes.view("node-a")?.slots.length === 2);
    stream.end();
    expect(await stream.settled).toBe("the stream ended");
  });

  it.each([
    ["no key", {}],
    ["another key", { authorization: `Bearer ${"X".repeat(43)}` }],
    ["no key's form", { authorization: "Bearer wrong" }],
    ["the key without its scheme", { authorization: AUTHORIZED.headers.authorization.slice(7) }],
    ["an enrolment token", { authorization: `Bearer ${LOCAL_TOKEN}` }],
  ])("refuses calls with %s", async (_what, headers) => {
    const { client, agent } = await joined();
    const call = client.register(registerRequest({ nodeId: "other" }), { headers });
    expect(await code(call)).toBe(Code.Unauthenticated);
    expect(agent.nodes.view("other")).toBeUndefined();
    const outgoing = new Outgoing<NodeReportRequest>();
    cleanup.add(() => outgoing.end());
    expect(await code(client.report(outgoing, { headers }))).toBe(Code.Unauthenticated);
  });

  it("answers bad registrations with codes that agents can act on", async () => {
    const { client } = await joined();
    const bad = registerRequest({ nodeId: "Bad Id" });
    expect(await code(client.register(bad, AUTHORIZED))).toBe(Code.InvalidArgument);
    const nobody = registerRequest({ agentInstanceId: "" });
    expect(await code(client.register(nobody, AUTHORIZED))).toBe(Code.InvalidArgument);
    const other = registerRequest({ fingerprint: fingerprint({ machineId: "machine-b" }) });
    const refused = await client.register(other, AUTHORIZED).catch(ConnectError.from);
    expect(refused).toMatchObject({ code: Code.PermissionDenied });
    expect(String(refused)).toContain("fingerprint.identity.machine_id");
    const older = registerRequest({ nodeIncarnation: 0n, agentInstanceId: "instance-b" });
    expect(await code(client.register(older, AUTHORIZED))).toBe(Code.Unavailable);
  });

  it.each<[string, MessageInitShape<typeof NodeReportRequestSchema>, Code]>([
    ["a gap in stream_seq", { streamSeq: 2n }, Code.InvalidArgument],
    ["an unknown registration", { registrationId: "nope" }, Code.Aborted],
    ["an unusable fingerprint", { fingerprint: {} }, Code.InvalidArgument],
    [
      "more samples than there can be GPUs",
      { gpus: Array.from({ length: 65 }, () => gpuSample("GPU-1")) },
      Code.InvalidArgument,
    ],
  ])("fails a report stream with %s", async (_what, message, expected) => {
    const stream = openReport(await joined());
    stream.send(message);
    expect(await stream.settled).toMatchObject({ code: expected });
  });

  it("fails a report stream whose number is repeated", async () => {
    const stream = openReport(await joined());
    stream.send();
    stream.send({ streamSeq: 1n });
    expect(await stream.settled).toMatchObject({ code: Code.InvalidArgument });
  });

  it("ends the stream of an older registration although it is silent", async () => {
    const { client, answer, agent } = await joined();
    const stream = openReport({ client, answer });
    stream.send({ host: hostSample(), gpus: [] });
    await until("the sample is there", () => agent.nodes.view("node-a")?.host !== undefined);
    const newer = await client.register(withGpus("GPU-1"), AUTHORIZED);
    expect(await stream.settled).toMatchObject({ code: Code.Aborted });
    const next = openReport({ client, answer: newer });
    next.send({ host: hostSample({ load1m: 9 }), gpus: [] });
    await until("the new stream counts", () => {
      return agent.nodes.view("node-a")?.host?.reading.load1m === 9;
    });
  });

  it("keeps a node for its agent while its stream is open, and gives it to the next start at once", async () => {
    const { agent, client, answer } = await joined();
    const stream = openReport({ client, answer });
    stream.send({ host: hostSample(), gpus: [] });
    await until("the sample is there", () => agent.nodes.view("node-a")?.host !== undefined);
    const later = registerRequest({ nodeIncarnation: 2n, agentInstanceId: "instance-b" });
    const other = nodeClient(cleanup, agent);
    expect(await code(other.register(later, AUTHORIZED))).toBe(Code.Unavailable);
    stream.send({ host: hostSample({ load1m: 9 }), gpus: [] });
    await until("the first one reports on", () => {
      return agent.nodes.view("node-a")?.host?.reading.load1m === 9;
    });
    stream.end();
    expect(await stream.settled).toBe("the stream ended");
    const begunMs = performance.now();
    const { registrationId } = await other.register(later, AUTHORIZED);
    expect(performance.now() - begunMs).toBeLessThan(2_000);
    const next = openReport({ client: other, answer: { ...answer, registrationId } });
    next.send({ host: hostSample({ load1m: 11 }), gpus: [] });
    await until("the next one reports", () => {
      return agent.nodes.view("node-a")?.host?.reading.load1m === 11;
    });
  });

  it("gives a node to the next start as soon as the connection of the one before it breaks", async () => {
    const { agent, client, answer } = await joined();
    const broken = openReport({ client, answer });
    broken.send({ host: hostSample(), gpus: [] });
    await until("the sample is there", () => agent.nodes.view("node-a")?.host !== undefined);
    const later = registerRequest({ nodeIncarnation: 2n, agentInstanceId: "instance-b" });
    const other = nodeClient(cleanup, agent);
    expect(await code(other.register(later, AUTHORIZED))).toBe(Code.Unavailable);
    broken.cut();
    await until(
      "the next start is taken",
      async () => (await code(other.register(later, AUTHORIZED))) === undefined,
      2_000,
    );
  });

  it("loses a node that is silent for the TTL, on an open stream and without one", async () => {
    const { agent, client, answer } = await joined(300);
    const stream = openReport({ client, answer });
    stream.send({ host: hostSample(), gpus: [] });
    await until("the node is lost", () => {
      return agent.nodes.view("node-a")?.liveness === "telemetry_lost";
    });
    expect(agent.cluster.document().nodes.nodeData[0]?.free_gpus).toBe(0);
    expect(await stream.settled).toBe("no report for 600 ms");
  });

  it("lets streams end in good order when it stops", async () => {
    const { agent, client, answer } = await joined();
    const stream = openReport({ client, answer });
    stream.send({ host: hostSample(), gpus: [] });
    await until("the sample is there", () => agent.nodes.view("node-a")?.host !== undefined);
    const begun = performance.now();
    await agent.stop();
    expect(performance.now() - begun).toBeLessThan(2_000);
    expect(await stream.settled).toBe("the cluster-agent is stopping");
  });

  it("keeps node ids and slots over a restart on the same data directory", async () => {
    const dataDir = await cleanup.directory();
    const first = await startAgent(cleanup, { dataDir });
    await nodeClient(cleanup, first).register(withGpus("GPU-1", "GPU-2"), AUTHORIZED);
    await first.stop();
    const second = await startAgent(cleanup, { dataDir });
    expect(second.nodes.view("node-a")?.liveness).toBe("unknown");
    expect(second.cluster.document().gpus.count).toBe(2);
    const client = nodeClient(cleanup, second);
    const other = { id: "node-a", key: "O".repeat(43), machineId: "machine-b" };
    expect(await code(enrolNode(cleanup, second, other))).toBe(Code.AlreadyExists);
    await client.register(withGpus("GPU-2", "GPU-1"), AUTHORIZED);
    const [node] = second.cluster.document().nodes.nodeData;
    expect(node?.gpus.gpus.map((gpu) => `${gpu.id}=${gpu.uuid}`)).toEqual(["0=GPU-1", "1=GPU-2"]);
    expect(node?.free_gpus).toBe(2);
  });

  it("refuses a second agent on the same data directory with a message that names the file", async () => {
    const dataDir = await cleanup.directory();
    await startAgent(cleanup, { dataDir });
    await expect(startAgent(cleanup, { dataDir })).rejects.toThrow(/cluster\.db.*another program/);
  });
});
