import { type NodeReportRequest, NodeReportRequestSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ClusterAgent } from "../compose.ts";
import {
  AUTHORIZED,
  Cleanup,
  enrolNode,
  nodeClient,
  Outgoing,
  startAgent,
} from "../testing/agent.ts";
import {
  fingerprint,
  gpuSample,
  healthReport,
  hostSample,
  registerRequest,
  until,
} from "../testing/fixtures.ts";

const cleanup = new Cleanup();
let agent: ClusterAgent;

/** Two nodes: node-a with a broken GPU and a free one, and node-b without. */
beforeEach(async () => {
  agent = await startAgent(cleanup, {});
  const client = nodeClient(cleanup, agent);
  const print = fingerprint({ gpus: ["GPU-1", "GPU-2"] });
  const { registrationId } = await client.register(
    registerRequest({ fingerprint: print }),
    AUTHORIZED,
  );
  const other = { id: "node-b", key: "B".repeat(43), machineId: "machine-b" };
  const headers = await enrolNode(cleanup, agent, other);
  const bare = fingerprint({ machineId: other.machineId });
  const request = { nodeId: "node-b", agentInstanceId: "b", fingerprint: bare };
  await client.register(registerRequest(request), headers);
  const outgoing = new Outgoing<NodeReportRequest>();
  const reported = client.report(outgoing, AUTHORIZED);
  cleanup.add(async () => {
    outgoing.end();
    await reported;
  });
  const gpus = [gpuSample("GPU-1"), gpuSample("GPU-2")];
  const report = { registrationId, streamSeq: 1n, host: hostSample(), gpus };
  outgoing.send(create(NodeReportRequestSchema, { ...report, health: healthReport({}) }));
  await until("the report to arrive", () => agent.nodes.view("node-a")?.host !== undefined);
});
afterEach(() => cleanup.run());

async function call(url: string, payload?: unknown) {
  const answer = await agent.http.inject({
    ...{ method: payload === undefined ? "GET" : "POST", url, headers: { host: "localhost" } },
    ...(payload === undefined ? {} : { payload: payload as object }),
  });
  return { status: answer.statusCode, body: answer.json(), headers: answer.headers };
}

const ids = (body: { data: { nodeId: string }[] }) => body.data.map(({ nodeId }) => nodeId);
const asFilter = (filter: unknown) => encodeURIComponent(JSON.stringify(filter));

describe("metrics of the cluster's REST surface", () => {
  it.each(["", "/metrics", "/metrics/metrics"])("answer below %j", async (prefix) => {
    expect((await call(`${prefix}/cluster`)).body.data.cluster_metrics.gpu).toMatchObject({
      count: 2,
      free_gpus: 1,
      unhealthy_gpus: 1,
      avgCudaUtilization: 50,
    });
    expect(ids((await call(`${prefix}/node/node-a`)).body)).toEqual(["node-a"]);
    expect(ids((await call(`${prefix}/node/query`, {})).body)).toEqual(["node-a", "node-b"]);
    expect(ids((await call(`${prefix}/node/query`)).body)).toEqual(["node-a", "node-b"]);
  });

  it.each([
    [{ nodeId: "node-b" }, ["node-b"]],
    [{ query: { "metrics.resource.node.free_gpus": { $gt: 0 } } }, ["node-a"]],
    [{ "metrics.resource.node.vcpu.load_15m": { $lt: 5 } }, ["node-a"]],
    [{ "metrics.resource.node.gpus.health": "hardware" }, ["node-a"]],
    [{ clusterId: "other" }, []],
  ])("are found by the filter %j, as body and in the URL", async (filter, found) => {
    expect(ids((await call("/metrics/node/query", filter)).body)).toEqual(found);
    const plain = "query" in filter ? filter.query : filter;
    const url = `/metrics/node/query?filter=${asFilter(plain)}`;
    expect(ids((await call(url)).body)).toEqual(found);
  });

  it.each([
    [
      "an operator that there is not",
      asFilter({ $where: "1" }),
      /filter: operator "\$where" is not supported/,
    ],
    ["text that is not JSON", "%7B", /filter: the request is not JSON/],
    ["a list", asFilter([]), /filter: expected one JSON object, got array/],
  ])("refuse %s as filter", async (_what, filter, message) => {
    const { status, body } = await call(`/metrics/node/query?filter=${filter}`);
    expect(status).toBe(400);
    expect(body).toMatchObject({ success: false, reason: "INVALID_ARGUMENT" });
    expect(body.message).toMatch(message);
  });

  it("are found by fields in the URL, and by none that nodes do not have", async () => {
    const found = async (parameters: string) =>
      ids((await call(`/metrics/node/query?${parameters}`)).body);
    expect(await found("nodeId=node-b")).toEqual(["node-b"]);
    expect(await found("nodeId=node-b&nodeId=node-a")).toEqual(["node-a", "node-b"]);
    expect(await found("nodeId=node-a&colour=red")).toEqual([]);
  });

  it("refuse two filters, and a body that is no object", async () => {
    const url = "/metrics/node/query?filter=%7B%7D&filter=%7B%7D";
    expect((await call(url)).body.message).toBe("filter: expected one JSON object");
    expect((await call("/metrics/node/query", [])).status).toBe(400);
  });

  it("show the health of GPUs in nodes_status and in the cluster document", async () => {
    const reason = "XID 79: GPU has fallen off the bus";
    const status = await call("/nodes_status");
    expect(status.body.nodes_status[0].gpus).toMatchObject([
      { state: "unhealthy", health: "hardware", reason },
      { state: "free" },
    ]);
    const document = await call("/cluster-actions/get-cluster");
    const [node] = document.body.data.nodes.nodeData;
    expect(node.gpus.gpus[0]).toMatchObject({ state: "unhealthy", reason });
  });

  it("are told to Prometheus at exactly /metrics, with those of the agent", async () => {
    const scrape = async () => {
      const request = { method: "GET", url: "/metrics", headers: { host: "localhost" } } as const;
      return agent.http.inject(request);
    };
    await scrape();
    await until("the size of the store to be known", async () =>
      (await scrape()).payload.includes("berth_store_size_bytes{"),
    );
    const answer = await scrape();
    expect(answer.headers["content-type"]).toContain("text/plain");
    for (const line of [
      'berth_build_info{program="cluster-agent",version="0.1.0"} 1',
      'berth_node_up{cluster="c1",node="node-b"} 1',
      'berth_gpu_state{cluster="c1",node="node-a",gpu="1",uuid="GPU-2",state="free"} 1',
      "berth_link_connected 0",
      "berth_link_reconnects_total 0",
    ]) {
      expect(answer.payload).toContain(`${line}\n`);
    }
    expect(answer.payload).toMatch(/^berth_outbox_events \d/m);
  });
});
