import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { EntrySchema, type NodeMetrics } from "@berth/proto";
import {
  createHttpServer,
  loopbackAuthenticator,
  Pacer,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GlobalMetrics } from "../../metrics/global-metrics.ts";
import { HISTORY_INTERVAL_MS, History } from "../../metrics/history.ts";
import { entry, TestAgent } from "../../testing/agents.ts";
import { LinkServer, ORG } from "../../testing/link-server.ts";
import { gpuMetrics, nodeMetrics } from "../../testing/metrics-views.ts";
import { clusterRoutes } from "./cluster-routes.ts";
import { metricsRoutes } from "./metrics-routes.ts";

let directory: string;
let link: LinkServer;
let rest: FastifyInstance;
let history: History;
let url: string;
let agents: TestAgent[];

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-metrics-routes-"));
  link = new LinkServer(directory);
  await link.start();
  agents = [];
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator(ORG),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  const clusters = link.registry();
  const clock = { ...systemClock, nowMs: () => link.nowMs };
  const shared = { clusters, pace: new Pacer(), clock };
  history = new History({ ...shared, orgId: ORG, logger: silentLogger });
  clusterRoutes(rest, clusters);
  metricsRoutes(rest, { metrics: new GlobalMetrics(shared), history });
  url = await rest.listen({ host: "127.0.0.1", port: 0 });
});
afterEach(async () => {
  for (const agent of agents) agent.close();
  await rest.close();
  await link.stop();
  rmSync(directory, { recursive: true });
});

async function ask(route: string, body?: unknown) {
  const headers = { "content-type": "application/json" };
  const post = { method: "POST", headers, body: JSON.stringify(body) };
  const answer = await fetch(url + route, body === undefined ? {} : post);
  const text = await answer.text();
  return { status: answer.status, text, ...JSON.parse(text) };
}

const idsIn = (answer: { data: { clusterId: string }[] }) =>
  answer.data.map(({ clusterId }) => clusterId);

/** An agent that has joined and sent telemetry: the aggregate's text as it is, and these nodes. */
async function report(clusterId: string, nodes: readonly NodeMetrics[], aggregate = "{}") {
  const agent = new TestAgent(link.url, clusterId);
  agents.push(agent);
  const { sessionId } = await agent.join();
  const metrics = create(EntrySchema, { key: "metrics", revision: 1n, json: aggregate });
  const telemetry = agent.report(sessionId);
  telemetry.send([metrics, ...nodes.map((node) => entry(`node/${node.id}`, 1, node))]);
  const isThere = async () =>
    expect((await ask(`/cluster/${clusterId}`)).data.nodes).toHaveLength(nodes.length);
  await vi.waitFor(isThere, { timeout: 20_000 });
  return agent;
}

const gpus = [
  gpuMetrics(0, { cudaUtilization: 75, usedMem: 1_000 }),
  gpuMetrics(1, { cudaUtilization: 25, usedMem: 1_000 }),
];
const busy = nodeMetrics("n1", [64, 50, 60_000, 4_000], { gpus, free_gpus: 1 });
const idle = nodeMetrics("n2", [32, 0, 31_000, 1_000]);

describe("GET /cluster/<id>", () => {
  it("gives what the agent wrote, its totals, its health and its age", async () => {
    await report("c1", [busy, idle], '{"vcpu":{"load_5m":10.0,"big":12345678901234567890}}');
    link.nowMs += 2_500;
    const { status, text, data } = await ask("/cluster/c1");
    expect(status).toBe(200);
    expect(text).toContain('"cluster":{"vcpu":{"load_5m":10.0,"big":12345678901234567890}}');
    expect(data).toMatchObject({
      clusterId: "c1",
      nodes: [{ id: "n1" }, { id: "n2" }],
      total_cpu: 96,
      used_cpu: 32,
      total_memory: 96_000,
      used_memory: 5_000,
      total_gpus: 2,
      gpu_utilization: 50,
      health: "live",
      age_ms: 2_500,
    });
  });

  it("gives what was last known of an unreachable cluster, which grows older", async () => {
    await report("c1", [busy]);
    link.nowMs += 60_000;
    link.sessions.expire();
    const { data } = await ask("/cluster/c1");
    expect(data).toMatchObject({ health: "unreachable", age_ms: 60_000, total_cpu: 64 });
  });

  it("gives the totals of a cluster without an agent, and of one that has not reported", async () => {
    await ask("/clusters", { id: "r", vcpus: { count: 128 }, memory: 512, gpus: { count: 16 } });
    const registered = await ask("/cluster/r");
    expect(registered).toMatchObject({ status: 200, success: true });
    expect(registered.data).toEqual({
      ...{ clusterId: "r", cluster: {}, nodes: [], health: "unknown", age_ms: null },
      ...{ total_cpu: 128, used_cpu: null, total_memory: 512, used_memory: null },
      ...{ total_gpus: 16, gpu_utilization: null },
    });
    const agent = new TestAgent(link.url, "young");
    agents.push(agent);
    await agent.join();
    const { data } = await ask("/cluster/young");
    expect(data).toMatchObject({ nodes: [], total_cpu: 8, health: "live", age_ms: null });
  });

  it("answers 404 in the envelope for an unknown cluster", async () => {
    const { status, success, error, message, reason } = await ask("/cluster/nobody");
    expect({ status, success, reason }).toEqual({
      status: 404,
      success: false,
      reason: "NOT_FOUND",
    });
    expect(message).toBe("cluster not found: nobody");
    expect(error).toBe(message);
  });
});

describe("/cluster/query", () => {
  it("finds clusters as the seeds' clients ask, and by anything in the document", async () => {
    await report("c1", [busy], '{"storage":{"disks.memory.freeMem":5},"gpu":{"free_gpus":1}}');
    await report("c2", [idle]);
    await ask("/clusters", { id: "r" });
    const posted = (filter: object) => ask("/cluster/query", filter).then(idsIn);
    const got = (query: string) => ask(`/cluster/query${query}`).then(idsIn);
    expect(await posted({ clusterId: { $in: ["c2", "r", "x"] } })).toEqual(["c2", "r"]);
    expect(await posted({ query: { clusterId: "c1" } })).toEqual(["c1"]);
    expect(await posted({ "cluster.storage.disks.memory.freeMem": { $gte: 5 } })).toEqual(["c1"]);
    expect(await posted({ "node_metrics.vcpu.utilization": { $gt: 40 } })).toEqual(["c1"]);
    expect(await posted({})).toEqual(["c1", "c2", "r"]);
    expect(await got("")).toEqual(["c1", "c2", "r"]);
    expect(await got("?clusterId=c1&clusterId=r")).toEqual(["c1", "r"]);
    expect(await got("?total_cpu=32")).toEqual(["c2"]);
    const filter = encodeURIComponent('{"used_cpu":{"$gte":1}}');
    expect(await got(`?filter=${filter}`)).toEqual(["c1"]);
    const [one] = (await ask("/cluster/query?clusterId=c1")).data;
    expect(one).toEqual((await ask("/cluster/c1")).data);
  });

  it("sends a long answer whole", async () => {
    const reason = "x".repeat(700_000);
    await report("c1", [{ ...busy, reason }]);
    await report("c2", [{ ...idle, reason }]);
    const { data } = await ask("/cluster/query", {});
    expect(data).toMatchObject([{ nodes: [{ reason }] }, { nodes: [{ reason }] }]);
  });

  it.each([
    [{ $where: "1" }, 'operator "$where" is not supported'],
    [[{ $match: {} }], "expected a filter as a JSON object, got array"],
    [{ clusterId: { $in: "c1" } }, "$in: expected an array, got string"],
    [{ query: [] }, "query: expected a filter as a JSON object, got array"],
    [{ query: { clusterId: "c1" }, limit: 1 }, 'limit: expected nothing beside "query"'],
  ])("refuses %j by name", async (filter, wanted) => {
    for (const route of ["/cluster/query", "/cluster/aggregate"]) {
      const { status, message, error } = await ask(route, filter);
      expect(status).toBe(400);
      expect(message).toContain(wanted);
      expect(error).toBe(message);
    }
  });
});

describe("/cluster/aggregate", () => {
  it("sums over the clusters that match", async () => {
    await report("c1", [busy]);
    await report("c2", [idle]);
    const all = await ask("/cluster/aggregate");
    expect(all).toMatchObject({
      status: 200,
      data: {
        clusters: { total: 2, live: 2, unreachable: 0, unknown: 0 },
        nodes: { total: 2, healthy: 2 },
        ...{ total_cpu: 96, used_cpu: 32, total_memory: 96_000, used_memory: 5_000 },
        ...{ total_gpus: 2, gpu_utilization: 50 },
      },
    });
    expect((await ask("/cluster/aggregate", {})).text).toBe(all.text);
    const one = await ask("/cluster/aggregate?clusterId=c2");
    expect(one.data).toMatchObject({ clusters: { total: 1 }, total_cpu: 32, total_gpus: 0 });
  });
});

describe("GET /cluster/<id>/history", () => {
  it("gives the points of a cluster and of a node", async () => {
    await report("c1", [busy]);
    link.nowMs += HISTORY_INTERVAL_MS;
    await history.record();
    const cluster = await ask("/cluster/c1/history?seconds=30");
    expect(cluster).toMatchObject({ status: 200, success: true });
    expect(cluster.data).toMatchObject({
      interval_seconds: 15,
      series: { total_cpu: [null, 64], used_cpu: [null, 32], gpu_utilization: [null, 50] },
    });
    expect(Date.parse(cluster.data.end)).toBeLessThanOrEqual(Date.now());
    const node = await ask("/cluster/c1/history/n1?seconds=15");
    expect(node.data.series).toMatchObject({ cpu_utilization: [50], gpu_memory_used: [2_000] });
    expect((await ask("/cluster/c1/history")).data.series.gpus).toHaveLength(240);
  });

  it("knows nothing of who has just come, and still knows who has gone", async () => {
    const agent = await report("c1", [busy]);
    expect((await ask("/cluster/c1/history?seconds=30")).data.series.gpus).toEqual([null, null]);
    link.nowMs += HISTORY_INTERVAL_MS;
    await history.record();
    agent.close();
    await fetch(`${url}/clusters/c1?force=true`, { method: "DELETE" });
    expect((await ask("/cluster/c1")).status).toBe(404);
    expect((await ask("/cluster/c1/history?seconds=15")).data.series.total_cpu).toEqual([64]);
  });

  it.each([
    ["/cluster/nobody/history", 404, "cluster not found: nobody"],
    ["/cluster/nobody/history/n1", 404, "cluster not found: nobody"],
    ["/cluster/c1/history/n9", 404, "node not found: n9"],
    ["/cluster/c1/history?seconds=14", 400, "seconds: expected"],
    ["/cluster/c1/history?seconds=3601", 400, "seconds: expected"],
    ["/cluster/c1/history?seconds=x", 400, "seconds: expected a whole number from 15 to 3600"],
    ["/cluster/c1/history?second=60", 400, "second: unknown field"],
  ])("answers %s with %d and the reason", async (route, status, wanted) => {
    await report("c1", [busy]);
    const answer = await ask(route);
    expect(answer.status).toBe(status);
    expect(answer.message).toContain(wanted);
  });
});
