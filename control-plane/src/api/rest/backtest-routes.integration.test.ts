import {
  BerthError,
  createHttpServer,
  type DocumentStore,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TEST_ORG } from "../../testing/org-fixture.ts";
import { openScaling, type TestScaling } from "../../testing/scaling-fixture.ts";
import { backtestRoutes } from "./backtest-routes.ts";

interface Given {
  readonly metrics: { readonly load: number };
  readonly replicas: Record<string, number>;
}

const FREE = {
  tolerance: 0,
  scale_up: { rate_policies: [] },
  scale_down: { stabilization_seconds: 0, rate_policies: [] },
};
const workflow = (id: string, threshold: number) => ({
  workflow_id: id,
  globalParameters: { threshold },
  modules: { m: { code: "x" } },
  graph: { m: [] },
});

let store: DocumentStore;
let scaling: TestScaling;
let rest: FastifyInstance;
let load: number;
let runs: number;

beforeEach(async () => {
  load = 0;
  runs = 0;
  store = openSqliteDocumentStore(":memory:", systemClock);
  scaling = await openScaling({
    store,
    report: () => ({ ageMs: 0, dataJson: reportOf(load, replicas()) }),
    runModule: async ({ inputJson, parameters }) => {
      runs += 1;
      const { metrics, replicas: desired } = JSON.parse(inputJson) as Given;
      if (metrics.load < 0) throw new BerthError("POLICY_FAILED", "no load");
      const { threshold } = JSON.parse(JSON.stringify(parameters)) as { threshold: number };
      const wanted = (desired.a ?? 0) + (metrics.load > threshold ? 1 : -1);
      return { kind: "returned", resultJson: JSON.stringify({ a: Math.max(wanted, 1) }) };
    },
  });
  await scaling.workflows.create(workflow("low", 5));
  await scaling.workflows.create(workflow("high", 50));
  await scaling.settings.rules.merge({ workflow_id: "low", guards: FREE });
  await scaling.books.quotas.create({ subject_id: "a", quota_id: "q", replica_count: 1 });
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator(TEST_ORG),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  backtestRoutes(rest, { ...scaling, clock: systemClock });
});
afterEach(async () => {
  await rest.close();
  await scaling.stop();
  await store.close();
});

const replicas = () => scaling.books.quotas.get("q").quota.replicas;

function reportOf(loaded: number, replicaCount: number, more: object = {}): string {
  const quota = { quota_id: "q", replica_count: String(replicaCount), ...more };
  return JSON.stringify({ load: loaded, subjects: { quotas: { a: [quota] } } });
}

/** A report of each load, ten minutes apart, while `replicaCount` were desired. */
function reports(loads: readonly number[], replicaCount = 1, more: object = {}) {
  return loads.map((loaded, index) => ({
    at: new Date(Date.UTC(2026, 0, 1) + index * 600_000).toISOString(),
    data: JSON.parse(reportOf(loaded, replicaCount, more)),
  }));
}

async function backtest(payload: object) {
  const headers = { host: "localhost" };
  const answer = await rest.inject({
    method: "POST",
    url: "/autoscale/backtest",
    headers,
    payload,
  });
  return { status: answer.statusCode, ...answer.json() };
}

async function evaluateAll(loads: readonly number[]): Promise<void> {
  for (const next of loads) {
    load = next;
    const { decisions } = await scaling.timer.evaluateNow(false);
    const limits = { timeoutMs: 10_000, signal: new AbortController().signal };
    for (const { uuid } of decisions) {
      if (uuid !== undefined) await scaling.scaler.wait(uuid, limits);
    }
  }
  await scaling.log.settled();
}

describe("POST /autoscale/backtest", () => {
  it("decides as was decided when nothing is other, and fewer changes with a higher threshold", async () => {
    await evaluateAll([10, 10, 60, 0, 0]);
    const same = await backtest({ workflow_id: "low", points: true });
    expect(same.data).toMatchObject({ workflow_id: "low", evaluations: 5, failed: 0, points: [] });
    const [{ actual, ...simulated }] = same.data.subjects;
    expect(actual).toMatchObject({ changes: 4, up: 3, down: 1, reversals: 1 });
    expect(simulated).toMatchObject({ ...actual, first_difference: null });
    const high = await backtest({ workflow_id: "high", points: true });
    expect(high.data.subjects[0]).toMatchObject({
      ...{ changes: 2, up: 1, down: 1, actual: { changes: 4 } },
      first_difference: { actual: 2, simulated: 1, why: expect.stringMatching(/1/) },
    });
    expect(high.data).toMatchObject({ more: 0 });
    expect(high.data.points[0]).toMatchObject({ subject_id: "a", simulated: 1, actual: 2 });
    expect((await backtest({ workflow_id: "low", limit: 2 })).data.evaluations).toBe(2);
    expect((await backtest({ workflow_id: "low", until: "1h" })).data.evaluations).toBe(0);
  });

  it("writes nothing and asks for nothing", async () => {
    const asked = reports([10, 10, 10]);
    expect((await backtest({ workflow_id: "low", reports: asked })).data.subjects[0].up).toBe(2);
    expect(replicas()).toBe(1);
    expect(scaling.scale.all()).toEqual([]);
    expect(scaling.log.list()).toEqual([]);
  });

  it("judges by the bounds of the reports, with their time and with rules of its own", async () => {
    const bounded = reports([10, 10, 10, 10, 10], 1, { max_replicas: 3 });
    const { data } = await backtest({ workflow_id: "low", reports: bounded, points: true });
    expect(data.subjects[0]).toMatchObject({ changes: 2, replica_hours: 1.833 });
    expect(data.subjects[0].actual).toMatchObject({ changes: 0, replica_hours: 0.667 });
    const rules = { guards: { ...FREE, scale_up: { cooldown_seconds: 1_200 } } };
    const slow = await backtest({ workflow_id: "low", reports: bounded, rules });
    expect(slow.data.subjects[0]).toMatchObject({ changes: 2, replica_hours: 1.667 });
  });

  it("counts evaluations that failed, which change nothing, and goes on", async () => {
    const { data } = await backtest({
      ...{ workflow: { yaml: JSON.stringify(workflow("", 5)) }, points: true },
      reports: reports([10, -1, 10, 10]),
    });
    expect(data).toMatchObject({ workflow_id: null, evaluations: 4, failed: 1 });
    expect(data.subjects[0]).toMatchObject({ changes: 2 });
    expect(data.points[1]).toMatchObject({ simulated: 2, why: expect.stringMatching(/^failed: /) });
  });

  it("ends when it is given up, and one is made at a time", async () => {
    const given = new AbortController();
    const { workflows, settings } = scaling;
    const gate = Promise.withResolvers<void>();
    async function* slowly() {
      for (const { at, data } of reports([10, 10])) {
        yield { atMs: Date.parse(at), ageMs: 0, dataJson: JSON.stringify(data) };
        await gate.promise;
      }
    }
    const run = scaling.backtest.run({
      ...{ workflow: workflows.runnable("low"), config: {}, rules: settings.rules.current.value },
      ...{ reports: slowly(), signal: given.signal },
    });
    expect(await backtest({ workflow_id: "low", reports: [] })).toMatchObject({
      error: expect.stringMatching(/another backtest is under way/),
    });
    given.abort();
    gate.resolve();
    await expect(run).rejects.toMatchObject({ reason: "CANCELED" });
    expect(runs).toBeLessThanOrEqual(1);
    expect((await backtest({ workflow_id: "low", reports: [] })).status).toBe(200);
  });

  it("refuses what it cannot read, by name", async () => {
    const refusals: readonly (readonly [object, RegExp])[] = [
      [{}, /workflow_id/],
      [{ workflow_id: "low", since: "soon" }, /since/],
      [{ workflow_id: "low", limit: 2_001 }, /limit/],
      [{ workflow_id: "low", reports: [{}] }, /reports\[0\]/],
      [
        { workflow_id: "low", reports: [{ at: 5, data: {} }] },
        /reports\[0\]: expected .*an ISO 8601 time/,
      ],
      [{ workflow_id: "low", guards: {} }, /guards/],
      [{ workflow_id: "none" }, /none/],
    ];
    for (const [body, message] of refusals) {
      const { status, error } = await backtest(body);
      expect(status).toBeGreaterThanOrEqual(400);
      expect(JSON.stringify(error)).toMatch(message);
    }
  });
});
