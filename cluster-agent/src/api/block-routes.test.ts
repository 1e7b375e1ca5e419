import {
  createHttpServer,
  loopbackAuthenticator,
  openSqliteDocumentStore,
  silentLogger,
} from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BlockBook } from "../blocks/block-book.ts";
import type { ObservedFacts } from "../blocks/block-document.ts";
import { parseBlockEntry } from "../blocks/block-entry.ts";
import { BlockQueries } from "../blocks/block-query.ts";
import { openBlockBook } from "../blocks/open-block-book.ts";
import { CHAT_ENTRY, clusterOf, entryOf, instanceOf } from "../testing/block-fixtures.ts";
import { FaultyStore } from "../testing/faulty-store.ts";
import { HandClock } from "../testing/fixtures.ts";
import { addBlockRoutes } from "./block-routes.ts";

const PREFIXES = ["", "/blocks"];
const { id } = CHAT_ENTRY;
const op = { operationId: "op-1" };
const observed = new Map<string, ObservedFacts>();

let blocks: BlockBook;
let cluster = clusterOf();
let store: FaultyStore;
let server: ReturnType<typeof createHttpServer>;

beforeEach(async () => {
  const clock = new HandClock();
  store = new FaultyStore(openSqliteDocumentStore(":memory:", clock));
  const logger = silentLogger;
  blocks = await openBlockBook({ store, orgId: "default_org", clock, logger });
  await blocks.create(parseBlockEntry(CHAT_ENTRY), op);
  await blocks.create(entryOf("blk-b"), op);
  cluster = clusterOf();
  server = createHttpServer({
    ...{ origins: { allowedHosts: [], allowedOrigins: [] }, logger },
    authenticate: loopbackAuthenticator("default_org"),
  });
  addBlockRoutes(server, { blocks, clusterDocument: () => cluster, observed: () => observed });
});
afterEach(async () => {
  observed.clear();
  await server.close();
  await store.close();
});

async function ask(method: "GET" | "POST" | "PUT", url: string, body?: unknown) {
  const payload = typeof body === "string" ? body : JSON.stringify(body);
  const answer = await server.inject({
    ...{ method, url },
    headers: { host: "localhost", ...(payload ? { "content-type": "application/json" } : {}) },
    ...(payload === undefined ? {} : { payload }),
  });
  return { status: answer.statusCode, text: answer.payload, body: answer.json(), answer };
}

const idsOf = (body: { data: readonly { id: string }[] }) => body.data.map((block) => block.id);

describe.each(PREFIXES)("the blocks' API below %j", (prefix) => {
  it("shows one block with the whole cluster as it is now", async () => {
    cluster = clusterOf({ reputation: 12 });
    const { status, body, answer } = await ask("GET", `${prefix}/blocks/${id}`);
    expect(status).toBe(200);
    expect(answer.headers["content-type"]).toBe("application/json; charset=utf-8");
    expect(body).toEqual({
      success: true,
      data: {
        ...CHAT_ENTRY,
        cluster,
        instances: [],
        status: { phase: "creating", instances: 0, ready: 0 },
      },
    });
  });

  it("lists the blocks in the order of their ids, and a part of them", async () => {
    const { status, body } = await ask("GET", `${prefix}/blocks`);
    expect(status).toBe(200);
    expect(idsOf(body)).toEqual([id, "blk-b"]);
    expect(body.data[0].cluster).toEqual({ ...cluster, nodes: { count: 1 } });
    expect(idsOf((await ask("GET", `${prefix}/blocks?skip=1&limit=5`)).body)).toEqual(["blk-b"]);
    expect(idsOf((await ask("GET", `${prefix}/blocks?limit=1`)).body)).toEqual([id]);
    expect(idsOf((await ask("GET", `${prefix}/blocks?limit=0`)).body)).toEqual([id, "blk-b"]);
  });

  it("answers the seed's query", async () => {
    const query = {
      query: {
        "cluster.reputation": { $gt: 90 },
        "policies.autoscaler.policyRuleURI": { $ne: "" },
      },
      options: { sort: { id: 1 }, limit: 10 },
    };
    const { status, body } = await ask("POST", `${prefix}/blocks/query`, query);
    expect(status).toBe(200);
    expect(body.success).toBe(true);
    expect(idsOf(body)).toEqual([id, "blk-b"]);
    cluster = clusterOf({ reputation: 90 });
    expect((await ask("POST", `${prefix}/blocks/query`, query)).body.data).toEqual([]);
  });

  it("answers a bare filter, and a query without a body", async () => {
    const found = await ask("POST", `${prefix}/blocks/query`, { tags: "chat" });
    expect(idsOf(found.body)).toEqual([id]);
    expect(idsOf((await ask("POST", `${prefix}/blocks/query`)).body)).toEqual([id, "blk-b"]);
  });

  it("takes the seed's update, and plain fields", async () => {
    const update = {
      $set: {
        "blockMetadata.description": "Updated description for object detection block",
        minInstances: 2,
      },
    };
    const { status, body } = await ask("PUT", `${prefix}/block/update/${id}`, update);
    expect(status).toBe(200);
    const blockMetadata = {
      ...{ usecase: "chat", description: "Updated description for object detection block" },
    };
    expect(body.data).toMatchObject({ id, blockMetadata, minInstances: 2, cluster: { id: "c1" } });
    const plain = await ask("PUT", `${prefix}/block/update/${id}`, { tags: ["a"] });
    expect(plain.body.data.tags).toEqual(["a"]);
    expect(blocks.block(id)?.entry).toMatchObject({ blockMetadata, minInstances: 2, tags: ["a"] });
  });

  it.each<[string, unknown, object]>([
    ["metadata", { owner: "infra" }, { blockMetadata: { owner: "infra" } }],
    ["type", { blockType: "llm" }, { blockType: "llm" }],
    ["policies", { policies: { a: "p:1.0-stable" } }, { policies: { a: "p:1.0-stable" } }],
    ["init_data", { blockInitData: { w: 1 } }, { blockInitData: { w: 1 } }],
    ["custom_metrics", { customMetrics: ["fps"] }, { customMetrics: ["fps"] }],
    ["init_settings", { initSettings: { s: 1 } }, { initSettings: { s: 1 } }],
    ["init_parameters", { initParameters: { p: 1 } }, { initParameters: { p: 1 } }],
    ["parameters", { parameters: { temperature: 0.5 } }, { parameters: { temperature: 0.5 } }],
    ["min_instances", { minInstances: "2" }, { minInstances: 2 }],
    ["max_instances", { maxInstances: null }, { maxInstances: null }],
    ["adhoc_enabled", { adhocEnabled: true }, { adhocEnabled: true }],
    ["input_protocols", { inputProtocols: { i: {} } }, { inputProtocol: { i: {} } }],
    ["output_protocols", { outputProtocols: { o: {} } }, { outputProtocol: { o: {} } }],
  ])("sets one field by the sub-route %s", async (name, payload, changed) => {
    const { status, body } = await ask("PUT", `${prefix}/block/update/${id}/${name}`, payload);
    expect(status).toBe(200);
    expect(body).toMatchObject({ success: true, data: { ...CHAT_ENTRY, ...changed } });
    expect(blocks.block(id)?.entry).toEqual({ ...CHAT_ENTRY, ...changed });
  });

  it("takes the sub-route cluster for this cluster only, and changes nothing", async () => {
    const url = `${prefix}/block/update/${id}/cluster`;
    const before = blocks.version;
    for (const named of ["c1", { id: "c1", reputation: 5 }]) {
      const { status, body } = await ask("PUT", url, { cluster: named });
      expect(status).toBe(200);
      expect(body.data).toMatchObject({ id, cluster: { id: "c1", reputation: 97 } });
    }
    for (const named of ["c2", { id: "c2" }, { regionId: "eu" }, null]) {
      const { status, body } = await ask("PUT", url, { cluster: named });
      expect(status).toBe(400);
      expect(body.message).toContain('cluster: expected "c1", this cluster, or its document');
    }
    expect(blocks.version).toBe(before);
  });

  it("tells of a block that is not there, and which ones are near", async () => {
    const asked = [
      await ask("GET", `${prefix}/blocks/blk-a`),
      await ask("PUT", `${prefix}/block/update/blk-a`, { tags: [] }),
      await ask("PUT", `${prefix}/block/update/blk-a/metadata`, {}),
      await ask("PUT", `${prefix}/block/update/blk-a/cluster`, { cluster: "c1" }),
    ];
    const message = 'no block "blk-a" in this cluster; near: "blk-b"';
    for (const { status, body } of asked) {
      expect(status).toBe(404);
      expect(body).toEqual({ success: false, error: message, message, reason: "NOT_FOUND" });
    }
    const far = await ask("GET", `${prefix}/blocks/query`);
    expect(far.body.message).toBe('no block "query" in this cluster');
  });
});

describe("the blocks' API", () => {
  it("keeps numbers as they were written, in all its answers", async () => {
    const url = "/block/update/blk-b/parameters";
    const parameters = '{"temperature":1.0,"seed":12345678901234567890}';
    cluster = clusterOf({ clusterMetadata: { weight: 1 } });
    const answers = [
      await ask("PUT", url, `{"parameters":${parameters}}`),
      await ask("GET", "/blocks/blk-b"),
      await ask("GET", "/blocks"),
      await ask("POST", "/blocks/query", { "parameters.temperature": 1 }),
      await ask("POST", "/blocks/query", { options: { projection: { parameters: 1 } } }),
    ];
    for (const { status, text } of answers) {
      expect(status).toBe(200);
      expect(text).toContain(`"parameters":${parameters}`);
    }
  });

  it("shows instances with what the runtime tells of them", async () => {
    await blocks.putInstance(instanceOf("blk-b", "in-1"));
    observed.set("in-1", {
      ...{ phase: "running", isReady: true, restarts: 1 },
      endpoints: { control: "http://127.0.0.1:41001" },
    });
    const { body } = await ask("GET", "/blocks/blk-b");
    expect(body.data).toMatchObject({
      instances: [{ instance_id: "in-1", gpus: [0], gpu_uuids: ["GPU-in-1"], phase: "running" }],
      status: { instances: 1, ready: 1 },
    });
    const ready = await ask("POST", "/blocks/query", { "status.ready": 1 });
    expect(idsOf(ready.body)).toEqual(["blk-b"]);
  });

  it.each<["GET" | "POST" | "PUT", string, unknown, string]>([
    ["GET", "/blocks?limit=many", undefined, "limit"],
    ["GET", "/blocks?limit=-1", undefined, "limit"],
    ["GET", "/blocks?colour=red", undefined, "colour: unknown field"],
    ["POST", "/blocks/query", "{", "not JSON"],
    ["POST", "/blocks/query", "[]", "the request body: expected a JSON object, got array"],
    ["POST", "/blocks/query", { id: { $where: "1" } }, '"$where" is not supported'],
    [
      "POST",
      "/blocks/query",
      { options: { sort: { id: 2 } } },
      "options.sort.id: expected 1 or -1",
    ],
    [
      "PUT",
      `/block/update/${id}`,
      undefined,
      "the request body: expected a JSON object, got nothing",
    ],
    ["PUT", `/block/update/${id}`, {}, "the update: expected a non-empty object"],
    ["PUT", `/block/update/${id}`, { id: "x" }, "$set.id: this field cannot be changed"],
    ["PUT", `/block/update/${id}`, { $set: { cluster: {} } }, "$set.cluster: this field cannot"],
    ["PUT", `/block/update/${id}`, { parameters: 7 }, "parameters: expected object, got number"],
    [
      "PUT",
      `/block/update/${id}/min_instances`,
      { minInstances: 7 },
      "at most maxInstances, which is 6",
    ],
    ["PUT", `/block/update/${id}/min_instances`, {}, "minInstances: required field is missing"],
    [
      "PUT",
      `/block/update/${id}/min_instances`,
      { minInstances: 1, x: 2 },
      "x: expected nothing but",
    ],
    ["PUT", `/block/update/${id}/type`, { type: "llm" }, "type: expected nothing but blockType"],
    [
      "PUT",
      `/block/update/${id}/input_protocols`,
      { inputProtocols: 1 },
      "inputProtocol: expected",
    ],
    ["PUT", `/block/update/${id}/metadata`, "[1]", "expected a JSON object, got array"],
  ])("refuses %s %s with %j, and changes nothing", async (method, url, payload, message) => {
    const before = blocks.version;
    const { status, body } = await ask(method, url, payload);
    expect(status).toBe(400);
    expect(body).toMatchObject({ success: false, reason: "INVALID_ARGUMENT" });
    expect(body.message).toContain(message);
    expect(blocks.version).toBe(before);
  });

  it("answers 404 for a sub-route that does not exist", async () => {
    const { status, body } = await ask("PUT", `/block/update/${id}/colour`, { colour: "red" });
    expect(status).toBe(404);
    expect(body.message).toContain("no route PUT");
  });

  it("answers 503 while the store takes nothing, and reads on", async () => {
    store.isFull = true;
    const refused = await ask("PUT", `/block/update/${id}`, { tags: ["z"] });
    expect(refused.status).toBe(503);
    expect(refused.body.reason).toBe("UNAVAILABLE");
    expect((await ask("GET", `/blocks/${id}`)).body.data.tags).toEqual(["chat"]);
  });

  it("answers 413 to what would be too long, and names a way", async () => {
    const small = createHttpServer({
      ...{ origins: { allowedHosts: [], allowedOrigins: [] }, logger: silentLogger },
      authenticate: loopbackAuthenticator("default_org"),
    });
    const queries = new BlockQueries({ characters: 1_000 });
    const facts = { clusterDocument: () => cluster, observed: () => observed };
    addBlockRoutes(small, { blocks, queries, ...facts });
    const headers = { host: "localhost" };
    const answer = await small.inject({ method: "GET", url: "/blocks", headers });
    expect(answer.statusCode).toBe(413);
    expect(answer.json().message).toContain("ask with limit and skip");
    await small.close();
  });
});
