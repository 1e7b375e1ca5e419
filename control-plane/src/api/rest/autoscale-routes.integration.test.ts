import {
  createHttpServer,
  type DocumentStore,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openScaling, type TestScaling } from "../../testing/scaling-fixture.ts";
import { autoscaleRoutes } from "./autoscale-routes.ts";
import { evaluationRoutes } from "./evaluation-routes.ts";
import { workflowRoutes } from "./workflow-routes.ts";

let rest: FastifyInstance;
let store: DocumentStore;
let scaling: TestScaling;

beforeEach(async () => {
  store = openSqliteDocumentStore(":memory:", systemClock);
  await open();
});
afterEach(async () => {
  await close();
  await store.close();
});

async function open(): Promise<void> {
  scaling = await openScaling({
    store,
    runModule: async () => ({ kind: "returned", resultJson: '{"a": 2}' }),
  });
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  autoscaleRoutes(rest, scaling);
  evaluationRoutes(rest, scaling);
  workflowRoutes(rest, scaling, "default_org");
}

async function close(): Promise<void> {
  await rest.close();
  await scaling.stop();
}

async function ask(
  method: "GET" | "POST" | "PUT" | "DELETE",
  url: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
) {
  const isText = typeof body === "string";
  const answer = await rest.inject({
    ...{ method, url },
    headers: {
      ...{ host: "localhost", ...headers },
      ...(isText ? { "content-type": "application/json" } : {}),
    },
    ...(body === undefined ? {} : { payload: body as object }),
  });
  return {
    ...{ status: answer.statusCode, body: answer.json(), text: answer.body },
    etag: answer.headers.etag,
  };
}

describe("/autoscale/config", () => {
  it("merges key by key, as the existing deployment does, and takes keys away by null", async () => {
    const posted = await ask("POST", "/autoscale/config", { threshold: 0.8, incr: { step: 1 } });
    expect(posted).toMatchObject({
      status: 200,
      body: { success: true, message: "Configuration updated", version: 1 },
    });
    await ask("POST", "/autoscale/config", { incr: { by: 2 }, threshold: null });
    expect((await ask("GET", "/autoscale/config")).body).toEqual({
      ...{ success: true, data: { incr: { by: 2 } }, version: 2 },
    });
    const same = await ask("POST", "/autoscale/config", { incr: { by: 2 }, none: null });
    expect(same.body.version).toBe(2);
  });

  it("keeps numbers as they were written, over restarts", async () => {
    await ask("POST", "/autoscale/config", '{"x": 10.0, "n": 9007199254740993}');
    await close();
    await open();
    const { text } = await ask("GET", "/autoscale/config");
    expect(text).toBe('{"success":true,"data":{"x":10.0,"n":9007199254740993},"version":1}');
  });

  it("goes back to a version, as a new one", async () => {
    await ask("POST", "/autoscale/config", { a: 1 });
    await ask("POST", "/autoscale/config", { a: 2, b: 3 });
    const back = await ask("POST", "/autoscale/config/rollback", { version: 1 });
    expect(back.body).toMatchObject({ data: { a: 1 }, version: 3 });
    const { body } = await ask("GET", "/autoscale/config/versions");
    expect(body.data.map(({ version, what }: Record<string, unknown>) => [version, what])).toEqual([
      [3, "rolled back to version 1"],
      [2, "changed a, b"],
      [1, "changed a"],
    ]);
    expect((await ask("GET", "/autoscale/config/versions/2")).body.data).toEqual({ a: 2, b: 3 });
    expect(await ask("POST", "/autoscale/config/rollback", { version: 9 })).toMatchObject({
      ...{ status: 404, body: { message: "config: no version 9 is kept" } },
    });
  });

  it("forgets the oldest of many versions", async () => {
    for (let n = 1; n <= 103; n += 1) await ask("POST", "/autoscale/config", { n });
    const { body } = await ask("GET", "/autoscale/config/versions");
    expect(body.data).toHaveLength(100);
    expect(body.data.at(-1)).toMatchObject({ version: 4 });
    expect((await ask("GET", "/autoscale/config")).body).toMatchObject({ data: { n: 103 } });
  });

  it.each([
    ["[1]", "the request body: expected a JSON object, got array"],
    ['"x"', "the request body: expected a JSON object, got string"],
    [`{"a": "${"x".repeat(70_000)}"}`, "config: expected at most 65536 bytes of JSON"],
    [`{"a": "${"é".repeat(40_000)}"}`, "config: expected at most 65536 bytes of JSON, got 80008"],
    ['{"a": {"n": 1e999}}', "config.a.n: expected a number that a double can hold"],
    [`{"a": ${"[".repeat(50)}${"]".repeat(50)}}`, "config: nested deeper than 48 levels"],
  ])("refuses %.20s", async (body, message) => {
    const refused = await ask("POST", "/autoscale/config", body);
    expect(refused).toMatchObject({ status: 400, body: { success: false } });
    expect(refused.body.message).toContain(message);
    expect((await ask("GET", "/autoscale/config")).body.data).toEqual({});
  });
});

describe("/autoscale/interval", () => {
  it("is 60 s, is set at once, and is there after a restart", async () => {
    expect((await ask("GET", "/autoscale/interval")).body.data).toMatchObject({ interval: 60 });
    const set = await ask("POST", "/autoscale/interval", { interval: 3_600 });
    expect(set).toMatchObject({
      ...{ status: 200, body: { success: true, message: "Interval updated" } },
    });
    const { data } = (await ask("GET", "/autoscale/interval")).body;
    expect(data.next_in).toBeGreaterThan(3_000);
    await close();
    await open();
    expect((await ask("GET", "/autoscale/interval")).body.data).toMatchObject({ interval: 3_600 });
  });

  it.each(["0", "-1", "true", '"5"', "null", "86401", "0.5", "1e400", "[]"])(
    "refuses %s",
    async (interval) => {
      const refused = await ask("POST", "/autoscale/interval", `{"interval": ${interval}}`);
      expect(refused.status).toBe(400);
      expect(refused.body.message).toMatch(/interval|1e400/);
    },
  );
});

describe("/autoscale/rules", () => {
  it("is merged deeply, shows what is so by default, and goes back", async () => {
    await ask("POST", "/autoscale/rules", { workflow_id: "w", guards: { tolerance: 0.2 } });
    const changed = await ask("POST", "/autoscale/rules", {
      guards: { paused: true },
      subjects: { a: { tolerance: 0 } },
    });
    expect(changed.body).toMatchObject({
      version: 2,
      data: {
        ...{ workflow_id: "w", subjects: { a: { tolerance: 0 } }, approval_seconds: 600 },
        guards: { tolerance: 0.2, paused: true, stale_after_seconds: 300 },
      },
    });
    await ask("POST", "/autoscale/rules/rollback", { version: 1 });
    expect((await ask("GET", "/autoscale/rules")).body.data.guards.paused).toBe(false);
  });

  it("has rules for a subject of any name", async () => {
    await ask("POST", "/autoscale/rules", '{"subjects": {"__proto__": {"paused": true}}}');
    const { subjectGuards } = scaling.settings.rules.current.value;
    expect(subjectGuards.get("__proto__")).toMatchObject({ isPaused: true });
    await ask("POST", "/autoscale/rules", '{"subjects": {"__proto__": null}}');
    expect(scaling.settings.rules.current.value.subjectGuards.size).toBe(0);
  });

  it.each([
    [{ workflow: "w" }, "workflow: unknown field; expected one of workflow_id, guards"],
    [{ guards: { tolerence: 1 } }, 'guards.tolerence: unknown field; near: "tolerance"'],
    [{ subjects: { a: { tolerance: 7 } } }, 'subjects["a"].tolerance: expected a number from 0'],
    [{ approval_seconds: 0 }, "approval_seconds: expected a number from 1 to 86400"],
    [{ workflow_id: 7 }, "workflow_id: expected the id of a workflow"],
  ])("refuses %j and changes nothing", async (body, message) => {
    const refused = await ask("POST", "/autoscale/rules", body);
    expect(refused.status).toBe(400);
    expect(refused.body.message).toContain(message);
    expect((await ask("GET", "/autoscale/rules")).body.version).toBe(0);
  });
});

describe("/workflows", () => {
  const body = { workflow_id: "w", modules: { m: { code: "x = 1" } }, graph: { m: [] } };

  it("are written, read, replaced and removed by who knows the newest revision", async () => {
    const made = await ask("POST", "/workflows", body);
    expect(made).toMatchObject({
      ...{ status: 201, etag: '"1"', body: { success: true, data: { ...body, revision: 1 } } },
    });
    expect((await ask("POST", "/workflows", body)).status).toBe(409);
    const changed = { ...body, name: "n" };
    const put = await ask("PUT", "/workflows/w", changed, { "if-match": '"1"' });
    expect(put).toMatchObject({ status: 200, etag: '"2"' });
    expect((await ask("PUT", "/workflows/w", body, { "if-match": '"1"' })).status).toBe(412);
    expect((await ask("GET", "/workflows")).body.data).toMatchObject([{ name: "n" }]);
    expect((await ask("DELETE", "/workflows/w")).status).toBe(200);
    expect((await ask("GET", "/workflows/w")).status).toBe(404);
    expect((await ask("PUT", "/workflows/w", body)).status).toBe(404);
  });

  it("are not removed while the autoscaler runs them", async () => {
    await ask("POST", "/workflows", body);
    const unknown = await ask("POST", "/autoscale/rules", { workflow_id: "none" });
    expect(unknown.body.warnings).toEqual(['there is no workflow "none" yet']);
    const named = await ask("POST", "/autoscale/rules", { workflow_id: "w" });
    expect(named.body).not.toHaveProperty("warnings");
    expect(await ask("DELETE", "/workflows/w")).toMatchObject({
      ...{ status: 409, body: { reason: "CONFLICT" } },
    });
    await ask("POST", "/autoscale/rules", { workflow_id: null });
    expect((await ask("DELETE", "/workflows/w")).status).toBe(200);
  });

  it("may be YAML, and are checked when they are written", async () => {
    const yaml = "workflow_id: y\nmodules:\n  m:\n    code: |\n      x = 1\ngraph: {m: []}\n";
    expect((await ask("POST", "/workflows", { yaml })).body.data).toMatchObject({
      ...{ workflow_id: "y", modules: { m: { code: "x = 1\n" } } },
    });
    const cycle = { ...body, graph: { m: ["m"] } };
    const refused = await ask("POST", "/workflows", cycle);
    expect(refused).toMatchObject({ status: 400 });
    expect(refused.body.message).toBe("graph: expected no cycle, got m → m");
    expect((await ask("POST", "/workflows", { yaml, more: 1 })).status).toBe(400);
  });
});

describe("/autoscale/evaluate", () => {
  it("evaluates now, and what was decided is found by subject, kind and evaluation", async () => {
    const workflow = { workflow_id: "w", modules: { m: { code: "x" } }, graph: { m: [] } };
    await ask("POST", "/workflows", workflow);
    expect((await ask("POST", "/autoscale/evaluate")).body.data).toMatchObject({ state: "held" });
    await ask("POST", "/autoscale/rules", { workflow_id: "w" });
    const quota = { subject_id: "a", quota_id: "q", replica_count: 1 };
    await scaling.books.quotas.create(quota);
    await scaling.books.quotas.create({ ...quota, subject_id: "b", quota_id: "qb" });
    const shadow = await ask("POST", "/autoscale/evaluate", { shadow: true });
    expect(shadow.body.data).toMatchObject({ shadow: true, decisions: { shadow: 1, keep: 1 } });
    const { data } = (await ask("POST", "/autoscale/evaluate", {})).body;
    expect(data).toMatchObject({ state: "done", trigger: "request", decisions: { change: 1 } });
    await scaling.log.settled();
    const found = async (query: string) =>
      (await ask("GET", `/autoscale/decisions?${query}`)).body.data as Record<string, unknown>[];
    expect((await found("subject_id=a")).map(({ kind }) => kind)).toEqual([
      ...["change", "shadow", "keep"],
    ]);
    expect(await found(`kind=keep&evaluation_id=${data.evaluation_id}`)).toMatchObject([
      { subject_id: "b", why: "the workflow did not name it: 1 desired" },
    ]);
    expect((await ask("GET", "/autoscale/evaluations?limit=2")).body).toMatchObject({ more: 1 });
    const one = await ask("GET", `/autoscale/evaluations/${data.evaluation_id}`);
    expect(one.body.data.subjects).toHaveLength(2);
    const report = await ask("GET", `/autoscale/evaluations/${data.evaluation_id}/report`);
    expect(report.body.data).toEqual({ subjects: {} });
    expect((await ask("GET", "/autoscale/evaluations/none")).status).toBe(404);
    expect((await ask("GET", "/autoscale/decisions?kind=odd")).status).toBe(400);
    expect((await ask("POST", "/autoscale/evaluate", { shadow: 1 })).status).toBe(400);
  });
});
