import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createHttpServer, loopbackAuthenticator, silentLogger } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LinkServer, ORG } from "../../testing/link-server.ts";
import { clusterRoutes } from "./cluster-routes.ts";

let directory: string;
let link: LinkServer;
let rest: FastifyInstance;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-cluster-routes-"));
  link = new LinkServer(directory);
  await link.start();
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator(ORG),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  clusterRoutes(rest, link.registry());
});
afterEach(async () => {
  await rest.close();
  await link.stop();
  rmSync(directory, { recursive: true });
});

async function ask(method: "GET" | "POST" | "PUT", url: string, payload?: string) {
  const headers = { host: "127.0.0.1", "content-type": "application/json" };
  const answer = await rest.inject({ method, url, headers, ...(payload ? { payload } : {}) });
  return { status: answer.statusCode, text: answer.body };
}

const TEXT = '{"id":"a","reputation":10.0,"free":{"deep":[{"x":1e2}],"big":12345678901234567890}}';
const FREE = '"free":{"deep":[{"x":1e2}],"big":12345678901234567890}';

describe("POST and PUT /clusters", () => {
  it("keep every number as it was written, in every answer", async () => {
    const posted = await ask("POST", "/clusters", TEXT);
    expect(posted.status).toBe(200);
    expect(posted.text).toContain('"reputation":10.0');
    expect(posted.text).toContain(FREE);
    const update = '{"$set":{"reputation":97.50,"free.more.y":98765432109876543210,"s":1e2}}';
    const put = await ask("PUT", "/clusters/a", update);
    expect(put.status).toBe(200);
    expect(put.text).toContain('"reputation":97.50');
    expect(put.text).toContain(`${FREE.slice(0, -1)},"more":{"y":98765432109876543210}}`);
    expect(put.text).toContain('"s":1e2');
    expect((await ask("GET", "/clusters/a")).text).toBe(put.text);
    expect((await ask("GET", "/clusters")).text).toBe(`[${put.text}]`);
    const query = '{"query":{"reputation":{"$gte":97.5}}}';
    expect((await ask("POST", "/clusters/query", query)).text).toBe(`[${put.text}]`);
  });

  it.each([
    ["POST", "/clusters", '{"id":"b","x":1e999}', "too large for a double"],
    ["POST", "/clusters", '{"id":1.0}', "id: expected string, got number"],
    ["POST", "/clusters", "[1.0]", "expected a JSON object, got array"],
    [
      "POST",
      "/clusters",
      `{"id":"b","x":${"[".repeat(200)}${"]".repeat(200)}}`,
      "nested deeper than",
    ],
    ["PUT", "/clusters/a", '{"$set":{"x":-1e999}}', "too large for a double"],
    ["PUT", "/clusters/a", "1.0", "expected a JSON object, got number"],
    ["PUT", "/clusters/a", '{"$inc":{"free":1.0}}', "$inc.free: expected a number"],
  ] as const)("refuse %s %s %s", async (method, url, body, message) => {
    const { text } = await ask("POST", "/clusters", TEXT);
    const answer = await ask(method, url, body);
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text).message).toContain(message);
    expect((await ask("GET", "/clusters")).text).toBe(`[${text}]`);
  });

  const withGpu = (gpu: string) =>
    `{"id":"g","nodes":{"nodeData":[{"id":"n","gpus":{"gpus":[{},${gpu}]}}]}}`;
  const place = "nodes.nodeData.0.gpus.gpus.1";

  it.each(['{"id":1}', '{"id":"1","uuid":"GPU-1","state":"cordoned"}', '{"free":{"x":1.0}}'])(
    "take the GPU %s",
    async (gpu) => {
      const { status, text } = await ask("POST", "/clusters", withGpu(gpu));
      expect(text).toContain(gpu);
      expect(status).toBe(200);
    },
  );

  it.each([
    ['{"id":1.5}', `${place}.id: expected string or integer, got number`],
    ['{"id":null}', `${place}.id: expected string or integer, got null`],
    ['{"id":""}', `${place}.id: `],
    ['{"uuid":5}', `${place}.uuid: expected string, got number`],
    ['{"state":"idle"}', `${place}.state: expected one of ["free","leased",`],
    ['{"state":1}', `${place}.state: `],
    ["5", `${place}: expected object, got number`],
  ])("refuse the GPU %s and name the field", async (gpu, message) => {
    const posted = await ask("POST", "/clusters", withGpu(gpu));
    expect(posted.status).toBe(400);
    expect(JSON.parse(posted.text).message).toContain(message);
    await ask("POST", "/clusters", withGpu("{}"));
    const put = await ask("PUT", "/clusters/g", withGpu(gpu).replace('"id":"g",', ""));
    expect(put.status).toBe(400);
    expect(JSON.parse(put.text).message).toContain(message);
  });
});

describe("POST /clusters/query", () => {
  const query = (payload?: string) => ask("POST", "/clusters/query", payload);

  beforeEach(async () => {
    for (const id of ["a", "b"]) await ask("POST", "/clusters", `{"id":"${id}"}`);
  });

  it.each([
    ['{"query":{"id":"b"}}', ["b"]],
    ['{"id":"b"}', ["b"]],
    ['{"id":"nope"}', []],
    ['{"$or":[{"id":"a"},{"id":"b"}]}', ["a", "b"]],
    ["{}", ["a", "b"]],
    ['{"query":{}}', ["a", "b"]],
    ['{"query":null}', ["a", "b"]],
    [undefined, ["a", "b"]],
  ])("takes %s", async (payload, ids) => {
    const { status, text } = await query(payload);
    expect(status).toBe(200);
    expect(JSON.parse(text).map(({ id }: { id: string }) => id)).toEqual(ids);
  });

  it.each([
    ['{"$where":"1"}', "$where"],
    ['{"query":{"$where":"1"}}', "$where"],
    ['{"$gt":1}', "$gt stands below a field"],
    ['{"query":{},"id":"a"}', "id: unknown field beside query"],
    ['{"query":7}', "query: expected an object, got number"],
    ["[]", "expected a JSON object, got array"],
  ])("refuses %s and says why", async (payload, message) => {
    const { status, text } = await query(payload);
    expect(status).toBe(400);
    expect(JSON.parse(text).message).toContain(message);
  });
});
