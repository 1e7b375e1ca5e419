import http from "node:http";
import {
  BerthError,
  createHttpServer,
  HttpTraffic,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { freePort } from "@berth/service-kit/testing/free-ports";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { Allocator } from "../../allocation/allocator.ts";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import type { Org } from "../../org/org.ts";
import { signatureOf } from "../../org/usage/webhook-signature.ts";
import { gpuMetrics, metricsView, nodeMetrics } from "../../testing/metrics-views.ts";
import { clusterBlocks, openTestOrg, TEST_ORG, type TestFleet } from "../../testing/org-fixture.ts";
import { WsEndpoints } from "../ws/ws-server.ts";
import { aliasPorts } from "./alias-ports.ts";
import { quotaRoutes } from "./quota-routes.ts";
import { reportRoutes } from "./report-routes.ts";
import { subjectRoutes } from "./subject-routes.ts";
import { usageRoutes } from "./usage-routes.ts";

let store: ReturnType<typeof openSqliteDocumentStore>;
let org: Org;
let fleet: TestFleet;
let rest: FastifyInstance;
let base: string;
const ends: (() => Promise<void>)[] = [];

beforeEach(async () => {
  store = openSqliteDocumentStore(":memory:", systemClock);
  ({ org, fleet } = await openTestOrg(store));
  const edge = {
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator(TEST_ORG),
    logger: silentLogger,
  };
  rest = createHttpServer(edge);
  rest.setValidatorCompiler(() => () => true);
  quotaRoutes(rest, org);
  subjectRoutes(rest, org);
  reportRoutes(rest, org.report);
  const { usage, reported: book } = org;
  usageRoutes(rest, { usage, book, webhookSecrets: ["key"], clock: systemClock });
  const sockets = new WsEndpoints({
    ...edge,
    allocator: { allocate: async () => ({ text: "there" }) } as unknown as Allocator,
    blockMode: { answer: async () => ({}) },
    ...{ traffic: new HttpTraffic(), feed: org.feed, autoscaler: {} as Autoscaler },
  });
  sockets.attach(rest.server, new Map([["/ws/metrics", "feed"]]));
  const port = await freePort();
  const wsPart = sockets.part({ host: "127.0.0.1", port: 0, setting: "X" });
  await wsPart.start();
  await rest.listen({ host: "127.0.0.1", port });
  base = `127.0.0.1:${port}`;
  ends.push(
    () => wsPart.stop(),
    () => org.feed.stop(),
    () => rest.close(),
    () => store.close(),
  );
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function ask(method: string, path: string, body?: unknown, headers = {}) {
  const text = body === undefined ? null : JSON.stringify(body);
  const answer = await fetch(`http://${base}${path}`, {
    method,
    headers: { ...(text === null ? {} : { "content-type": "application/json" }), ...headers },
    body: text,
  });
  return { status: answer.status, body: JSON.parse(await answer.text()) };
}

/** Tells the webhook something, signed as its senders do. */
function tell(body: unknown, secret = "key") {
  const signature = signatureOf(JSON.stringify(body), secret, Date.now());
  return ask("POST", "/metrics/webhook", body, { "x-berth-signature": signature });
}

const report = async () => (await ask("GET", "/metrics/report")).body.data;

/** One cluster with a block of two instances, one of them ready, on a GPU that is busy for half of its time. */
function seeFleet(): void {
  const gpus = [gpuMetrics(0, { cudaUtilization: 50, totalMem: 80_000 })];
  const node = nodeMetrics("n1", [64, 25, 75_000, 25_000], { gpus });
  const reportedAtMs = systemClock.nowMs();
  fleet.views = [metricsView("c1", [node], { reportedAtMs })];
  const allocations = [{ block_id: "echo", gpus: [{ uuid: "GPU-0" }], cpu_millis: 8_000 }];
  fleet.blocks = [clusterBlocks("c1", { echo: { ready: 1, instances: 2 } }, allocations)];
}

const BLOCK_QUOTA = {
  ...{ quota_id: "q-echo", subject_id: "echo-team", replica_count: 2 },
  allocation_info: { block_id: "echo", gpus_per_replica: { H100: 1 } },
};

describe("/metrics/report", () => {
  it("has the seed's members, and beside them quotas, clusters, the time and its sources", async () => {
    expect(await report()).toMatchObject({
      cluster_metrics: { total_cpu: 0, total_gpus: 0 },
      subjects: { data: {}, metrics: {}, quotas: {} },
      clusters: {},
      generated_at: expect.stringMatching(/^\d{4}-/),
      sources: { clusters: { ok: true }, quotas: { ok: true }, subjects: { ok: true } },
    });
    seeFleet();
    await ask("POST", "/quota", BLOCK_QUOTA);
    await ask("POST", "/subjects", { subject_id: "echo-team", name: "Echo", type: "block" });
    await ask("POST", "/quota", { quota_id: "q2", subject_id: "nameless" });
    await tell([{ subject_id: "guest", cpu_usage: 8.4, memory_usage: 5_120 }]);
    const { cluster_metrics, subjects, clusters } = await report();
    expect(cluster_metrics).toMatchObject({ total_cpu: 64, used_cpu: 16, total_gpus: 1 });
    expect(clusters.c1).toMatchObject({ total_cpu: 64, health: "live", age_seconds: 0 });
    expect(subjects.data).toEqual({
      "echo-team": { subject_id: "echo-team", name: "Echo", type: "block", org_id: TEST_ORG },
      nameless: { subject_id: "nameless", org_id: TEST_ORG },
    });
    const used = { cpu_usage: 2, gpu_usage: 0.5, replicas_reported: 1, source: "telemetry" };
    expect(subjects.metrics["echo-team"]).toMatchObject(used);
    expect(subjects.metrics.guest).toMatchObject({ cpu_usage: 8.4, memory_usage: 5_120 });
    expect(subjects.quotas["echo-team"]).toMatchObject([
      { quota_id: "q-echo", replica_count: "2", observed_replicas: 1, observed_age_seconds: 0 },
    ]);
  });

  it("names clusters that were not heard since the start", async () => {
    fleet.unheard = ["c9"];
    const { sources, clusters } = await report();
    expect(clusters.c9).toBeUndefined();
    expect(sources.clusters).toMatchObject({
      ...{ ok: false, unreachable: ["c9"], error: "1 clusters are unreachable: c9" },
    });
  });

  it("names what is unreachable or fails, and has everything else", async () => {
    fleet.views = [metricsView("c1", [], { health: "unreachable" })];
    await ask("POST", "/quota", BLOCK_QUOTA);
    const { sources } = await report();
    expect(sources.clusters).toMatchObject({
      ...{ ok: false, unreachable: ["c1"] },
      error: "1 clusters are unreachable: c1",
    });
    Object.defineProperty(org.usage, "view", {
      value: async () => {
        throw new BerthError("UNAVAILABLE", "the disk is gone");
      },
    });
    const broken = await report();
    expect(broken.sources.subject_metrics).toEqual({ ok: false, error: "the disk is gone" });
    expect(broken.subjects.metrics).toEqual({});
    expect(broken.subjects.quotas["echo-team"]).toHaveLength(1);
  });
});

describe("what subjects use", () => {
  it("is told by the webhook when it is signed, each report once", async () => {
    const body = { event_id: "e1", source: "dcgm", subjects: [{ subject_id: "s", gpu_usage: 2 }] };
    expect(await ask("POST", "/metrics/webhook", body)).toMatchObject({ status: 401 });
    expect(await tell(body, "guess")).toMatchObject({ status: 401 });
    const taken = { taken: 1, ignored: 0, duplicate: false };
    expect(await tell(body)).toMatchObject({ status: 200, body: { data: taken } });
    expect(await tell(body)).toMatchObject({ status: 200, body: { data: { duplicate: true } } });
    const bad = await tell({ subjects: [{ subject_id: "s", gpu_usage: "much" }] });
    expect(bad).toMatchObject({
      status: 400,
      body: {
        message: "subjects.0.gpu_usage: expected a number from 0 to 1000000000000, got string",
      },
    });
    const metrics = {
      subject_id: "s",
      org_id: TEST_ORG,
      gpu_usage: 2,
      cpu_usage: null,
      source: "dcgm",
    };
    expect(await ask("GET", "/subject-metrics")).toMatchObject({ body: { data: [metrics] } });
  });

  it("is told once by a request that is captured and sent again", async () => {
    const body = [{ subject_id: "s", gpu_usage: 2 }];
    const signature = signatureOf(JSON.stringify(body), "key", Date.now());
    const send = () => ask("POST", "/metrics/webhook", body, { "x-berth-signature": signature });
    expect((await send()).body.data).toEqual({ taken: 1, ignored: 0, duplicate: false });
    expect((await send()).body.data).toEqual({ taken: 0, ignored: 1, duplicate: true });
  });

  it("comes from telemetry until it is reported, and again when the report is old", async () => {
    seeFleet();
    await ask("POST", "/quota", BLOCK_QUOTA);
    const metrics = async () =>
      (await ask("GET", "/subject-metrics?subject_id=echo-team")).body.data[0];
    expect(await metrics()).toMatchObject({ cpu_usage: 2, source: "telemetry", stale: false });
    await tell({ subject_id: "echo-team", cpu_usage: 7, replicas_reported: 4 });
    const reported = { cpu_usage: 7, gpu_usage: 0.5, replicas_reported: 4, source: "webhook" };
    expect(await metrics()).toMatchObject(reported);
    const old = {
      reported_at: Date.now() - 120_000,
      subjects: [{ subject_id: "x", cpu_usage: 1 }],
    };
    await tell(old);
    const [x] = (await ask("GET", "/subject-metrics?subject_id=x")).body.data;
    expect(x).toMatchObject({ cpu_usage: 1, age_seconds: 120, stale: true });
  });

  it("is found on its alias port as /subjects, where the seed's clients look", async () => {
    await tell({ subject_id: "subject-001", cpu_usage: 8.4, memory_usage: 5_120 });
    const ports: number[] = [];
    const part = aliasPorts(rest, {
      ...{ host: "127.0.0.1", logger: silentLogger },
      ports: [{ name: "m", port: 0, setting: "X", paths: { "/subjects": "/subject-metrics" } }],
      onListening: (_alias, port) => ports.push(port),
    });
    ends.unshift(() => part.stop());
    await part.start();
    const answer = await fetch(`http://127.0.0.1:${ports[0]}/subjects?limit=5`);
    expect(await answer.json()).toMatchObject({
      success: true,
      data: [{ subject_id: "subject-001", cpu_usage: 8.4, memory_usage: 5_120 }],
    });
  });
});

describe("the WebSocket feed", () => {
  /** The frames of a socket, one after the other. */
  function dial(query: string) {
    const socket = new WebSocket(`ws://${base}/ws/metrics${query}`);
    const frames: string[] = [];
    const waiting: ((frame: string) => void)[] = [];
    const closed = new Promise<number>((resolve) => socket.on("close", resolve));
    socket.on("message", (data) => {
      const frame = data.toString();
      const next = waiting.shift();
      if (next === undefined) frames.push(frame);
      else next(frame);
    });
    ends.unshift(async () => socket.terminate());
    const next = async () =>
      JSON.parse(frames.shift() ?? (await new Promise<string>((resolve) => waiting.push(resolve))));
    return { socket, next, closed };
  }

  it("sends the report of REST at once, and changes of quotas as they come", async () => {
    const { next } = dial("?changes=true&interval=3600");
    const first = await next();
    const { generated_at: _at, ...data } = first.data;
    expect(await report()).toMatchObject(data);
    await ask("POST", "/quota", BLOCK_QUOTA);
    expect((await next()).data.subjects.quotas["echo-team"]).toHaveLength(1);
    await ask("PUT", "/quota/q-echo", { replica_count: "7" });
    expect((await next()).data.subjects.quotas["echo-team"][0].replica_count).toBe("7");
  });

  it("sends again in the interval", async () => {
    const { next } = dial("?interval=1");
    const [first, second] = [await next(), await next()];
    expect(Date.parse(second.data.generated_at)).toBeGreaterThan(
      Date.parse(first.data.generated_at),
    );
  });

  it("tells what is wrong with its interval, and closes", async () => {
    const { next, closed } = dial("?interval=soon");
    expect(await next()).toMatchObject({
      success: false,
      error: 'interval: expected a whole number of seconds from 1 to 3600, got "soon"',
    });
    expect(await closed).toBe(1008);
    expect(org.feed.size).toBe(0);
  });

  it("answers allocations on the same socket, and ends with it", async () => {
    const { socket, next } = dial("?interval=3600");
    await next();
    const request = { adhoc: true, policy_rule_uri: "p:1-s", clusters: [], inputs: {} };
    socket.send(JSON.stringify(request));
    expect(await next()).toEqual({ text: "there" });
    socket.terminate();
    await expect.poll(() => org.feed.size).toBe(0);
  });
});

it("is read by plain HTTP clients, too", async () => {
  const answer = await new Promise<http.IncomingMessage>((resolve) =>
    http.get(`http://${base}/metrics/report`, resolve),
  );
  expect(answer.headers["content-type"]).toMatch(/^application\/json/);
  answer.resume();
});
