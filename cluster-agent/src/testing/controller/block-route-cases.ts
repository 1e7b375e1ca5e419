import { describe, expect, it } from "vitest";
import type { ControllerClient as Client } from "./controller-client.ts";
import { refusal } from "./failure.ts";

/** The blocks query and update APIs, at the root and below `urlMap.blocksQuery`. */
export function blockRouteCases(client: Client): void {
  describe.each(["", "/blocks"])("the blocks' API below '%s'", (prefix) => {
    readCases(client, prefix);
    queryCases(client, prefix);
    updateCases(client, prefix);
    subRouteCases(client, prefix);
  });
}

const idsOf = ({ body }: { readonly body: { readonly data: readonly { id: string }[] } }) =>
  body.data.map(({ id }) => id);

function readCases(client: Client, prefix: string): void {
  it("lists and shows blocks with their instances and the cluster", async () => {
    await client.create("b1", { tags: ["gpu"], minInstances: 1 });
    await client.create("b2", { minInstances: 0 });
    await client.ready("b1", 1);
    const all = await client.call("GET", `${prefix}/blocks`);
    expect(all).toMatchObject({ status: 200, body: { success: true } });
    expect(idsOf(all)).toEqual(["b1", "b2"]);
    expect(idsOf(await client.call("GET", `${prefix}/blocks?skip=1&limit=1`))).toEqual(["b2"]);
    const { status, body } = await client.call("GET", `${prefix}/blocks/b1`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      success: true,
      data: {
        ...{ id: "b1", tags: ["gpu"], minInstances: 1, status: { instances: 1, ready: 1 } },
        cluster: { id: "c1", nodes: { nodeData: [{ id: client.nodeId }] } },
        instances: [{ node_id: client.nodeId, gpus: [0], phase: "running", ready: true }],
      },
    });
    expect(await client.call("GET", `${prefix}/blocks/none`)).toMatchObject(
      refusal(404, "NOT_FOUND", /no block "none" in this cluster/),
    );
    expect(await client.call("GET", `${prefix}/blocks?limit=many`)).toMatchObject(
      refusal(400, "INVALID_ARGUMENT", /^limit/),
    );
  });
}

/** Filters by the class of their operators, with the ids that they find. */
const FILTERS: readonly (readonly [string, object, readonly string[]])[] = [
  [
    "the seed's",
    { "cluster.reputation": { $lt: 90 }, "policies.a.policyRuleURI": { $ne: "" } },
    [],
  ],
  ["a field", { id: "q2" }, ["q2"]],
  ["an item of a list", { tags: "gpu" }, ["q1", "q2"]],
  ["a place in a list", { "parameters.steps.1.n": 5 }, ["q1"]],
  ["$eq", { "parameters.level": { $eq: 5 } }, ["q2"]],
  ["$ne", { "parameters.level": { $ne: 5 } }, ["q1", "q3"]],
  ["$gt", { "parameters.level": { $gt: 1 } }, ["q2"]],
  ["$gte", { "parameters.level": { $gte: 1 } }, ["q1", "q2"]],
  ["$lt", { "parameters.level": { $lt: 5 } }, ["q1"]],
  ["$lte", { "parameters.level": { $lte: 5 } }, ["q1", "q2"]],
  ["$in", { tags: { $in: ["llm", "none"] } }, ["q1"]],
  ["$nin", { tags: { $nin: ["gpu"] } }, ["q3"]],
  ["$and", { $and: [{ tags: "gpu" }, { "parameters.level": 1 }] }, ["q1"]],
  ["$or", { $or: [{ id: "q3" }, { tags: "llm" }] }, ["q1", "q3"]],
  ["$nor", { $nor: [{ id: "q3" }, { tags: "llm" }] }, ["q2"]],
  ["$not", { "parameters.level": { $not: { $gt: 1 } } }, ["q1", "q3"]],
  ["$exists", { "parameters.name": { $exists: true } }, ["q3"]],
  ["$type", { "parameters.name": { $type: "string" } }, ["q3"]],
  ["$all", { tags: { $all: ["gpu", "llm"] } }, ["q1"]],
  ["$elemMatch", { "parameters.steps": { $elemMatch: { n: { $gt: 1 }, ok: false } } }, ["q1"]],
  ["$size", { tags: { $size: 2 } }, ["q1"]],
  ["$regex", { "parameters.name": { $regex: "^detec", $options: "i" } }, ["q3"]],
];

/** Queries that do not hold, and what their refusal names. */
const NO_QUERIES: readonly (readonly [object, RegExp])[] = [
  [{ query: { $where: "1" } }, /\$where/],
  [{ query: { id: { $function: "f" } } }, /\$function/],
  [{ query: { $expr: {} } }, /\$expr/],
  [{ query: { tags: { $in: "gpu" } } }, /\$in.*expected an array/],
  [{ query: { id: { $regex: "(" } } }, /^query\.id\.\$regex: .*missing closing/],
  [{ query: { id: { $regex: "(a)\\1" } } }, /invalid escape/],
  [{ query: 7 }, /^query/],
  [{ query: {}, colour: "red" }, /^colour/],
  [{ query: {}, options: [] }, /^options/],
  [{ query: {}, options: { sort: { id: 2 } } }, /^options\.sort\.id/],
  [{ query: {}, options: { limit: -1 } }, /^options\.limit/],
  [{ query: {}, options: { skip: "1" } }, /^options\.skip/],
  [{ query: {}, options: { projection: 7 } }, /^options\.projection/],
  [{ query: {}, options: { hint: 1 } }, /^options\.hint/],
];

function queryCases(client: Client, prefix: string): void {
  const ask = (body: object) => client.call("POST", `${prefix}/blocks/query`, body);

  it("answers queries with each operator, in the seed's shape and as a bare filter", async () => {
    const steps = [
      { n: 1, ok: true },
      { n: 5, ok: false },
    ];
    const entries: [string, object][] = [
      ["q1", { tags: ["gpu", "llm"], parameters: { level: 1, steps } }],
      ["q2", { tags: ["gpu"], parameters: { level: 5 } }],
      ["q3", { tags: [], parameters: { name: "Detector" } }],
    ];
    for (const [id, more] of entries) await client.create(id, { minInstances: 0, ...more });
    for (const [name, query, ids] of FILTERS) {
      const options = { sort: { id: 1 }, limit: 10 };
      const found = [idsOf(await ask({ query, options })), idsOf(await ask(query))];
      expect({ name, found }).toEqual({ name, found: [ids, ids] });
    }
    const options = {
      sort: { id: -1 },
      skip: 1,
      limit: 1,
      projection: { id: 1, "parameters.level": 1 },
    };
    expect((await ask({ query: {}, options })).body).toEqual({
      ...{ success: true, data: [{ id: "q2", parameters: { level: 5 } }] },
    });
    expect(idsOf(await client.call("POST", `${prefix}/blocks/query`))).toEqual(["q1", "q2", "q3"]);
  });

  it.each(NO_QUERIES)("refuses the query %j by what does not hold", async (body, message) => {
    expect(await ask(body)).toMatchObject(refusal(400, "INVALID_ARGUMENT", message));
  });
}

function updateCases(client: Client, prefix: string): void {
  const update = (body: object, id = "b1") =>
    client.call("PUT", `${prefix}/block/update/${id}`, body);

  it("updates blocks by the seed's operators and by plain fields", async () => {
    await client.create("b1", { minInstances: 0, tags: ["a"], parameters: { level: 1 } });
    const set = { "blockMetadata.description": "d", minInstances: 2 };
    expect(await update({ $set: set })).toMatchObject({
      status: 200,
      body: {
        success: true,
        data: { id: "b1", blockMetadata: { description: "d" }, minInstances: 2 },
      },
    });
    const plain = await update({ "blockMetadata.description": "e" });
    expect(plain.body.data.blockMetadata).toEqual({ description: "e" });
    const all = await update({
      ...{ $inc: { "parameters.level": 2 }, $push: { tags: "b" } },
      $unset: { "blockMetadata.description": "" },
    });
    expect(all.body.data).toMatchObject({ parameters: { level: 3 }, tags: ["a", "b"] });
    expect(all.body.data.blockMetadata).toEqual({});
    expect((await update({ $pull: { tags: "a" } })).body.data.tags).toEqual(["b"]);
    const shown = (await client.call("GET", "/blocks/b1")).body.data;
    expect(shown).toMatchObject({ minInstances: 2, tags: ["b"], parameters: { level: 3 } });
    expect(await client.instances("b1")).toEqual([]);
  });

  it("refuses updates that do not hold, by the field, and changes nothing", async () => {
    await client.create("b1", { minInstances: 0 });
    const before = (await client.call("GET", "/blocks/b1")).body.data;
    const refused: [object, RegExp][] = [
      [{}, /^the update/],
      [{ id: "b3" }, /\bid\b/],
      [{ $set: { cluster: {} } }, /\$set\.cluster/],
      [{ $rename: { tags: "t" } }, /\$rename/],
      [{ $set: {}, tags: [] }, /tags/],
      [{ $inc: { tags: 1 } }, /tags/],
      [{ $push: { "parameters.a": 1, "parameters.a.b": 1 } }, /parameters\.a/],
      [{ parameters: 7 }, /^parameters/],
      [{ minInstances: -1 }, /^minInstances/],
      [{ maxInstances: 1, minInstances: 2 }, /^minInstances/],
    ];
    for (const [body, message] of refused) {
      const { status, body: told } = await update(body);
      expect({ body, status, reason: told.reason }).toEqual({
        ...{ body, status: 400, reason: "INVALID_ARGUMENT" },
      });
      expect(told.message).toMatch(message);
    }
    expect(await update({ $unset: { "component.containerRegistryInfo": "" } })).toMatchObject(
      refusal(400, "PRECONDITION_FAILED", /^component: .*the component names no/),
    );
    expect((await client.call("GET", "/blocks/b1")).body.data).toEqual(before);
    expect(await update({ tags: [] }, "none")).toMatchObject(
      refusal(404, "NOT_FOUND", /no block "none"/),
    );
  });
}

/** Sub-routes of updates: body, what is then in the entry, a body that does not hold and what its refusal names. */
const SUB_ROUTES: readonly (readonly [string, object, object, object, RegExp])[] = [
  ["metadata", { owner: "x" }, { blockMetadata: { owner: "x" } }, [], /array/],
  ["type", { blockType: "llm" }, { blockType: "llm" }, { type: "llm" }, /^type/],
  ["policies", { policies: {} }, { policies: {} }, { policies: 7 }, /^policies/],
  ["cluster", { cluster: "c1" }, {}, { cluster: "other" }, /^cluster/],
  ["init_data", { blockInitData: { w: 1 } }, { blockInitData: { w: 1 } }, {}, /^blockInitData/],
  ["custom_metrics", { customMetrics: ["f"] }, { customMetrics: ["f"] }, {}, /^customMetrics/],
  ["init_settings", { initSettings: { s: 1 } }, { initSettings: { s: 1 } }, {}, /^initSettings/],
  ["init_parameters", { initParameters: { p: 1 } }, { initParameters: { p: 1 } }, {}, /^init/],
  ["parameters", { parameters: { p: 1 } }, { parameters: { p: 1 } }, { parameters: 1 }, /^param/],
  ["min_instances", { minInstances: 1 }, { minInstances: 1 }, { minInstances: -1 }, /^minInst/],
  ["max_instances", { maxInstances: 3 }, { maxInstances: 3 }, { maxInstances: -1 }, /^maxInst/],
  ["adhoc_enabled", { adhocEnabled: true }, { adhocEnabled: true }, {}, /^adhocEnabled/],
  ["input_protocols", { inputProtocols: { i: 1 } }, { inputProtocol: { i: 1 } }, {}, /^inputProt/],
  ["output_protocols", { outputProtocols: { o: 1 } }, { outputProtocol: { o: 1 } }, {}, /^output/],
];

function subRouteCases(client: Client, prefix: string): void {
  it("sets one field by each sub-route, and refuses what it does not take", async () => {
    await client.create("b1", { minInstances: 0 });
    for (const [name, body, changed, wrong, message] of SUB_ROUTES) {
      const put = (sent: object, id = "b1") =>
        client.call("PUT", `${prefix}/block/update/${id}/${name}`, sent);
      const done = await put(body);
      expect({ name, status: done.status, data: done.body.data }).toMatchObject({
        ...{ name, status: 200, data: { id: "b1", ...changed } },
      });
      const { status, body: told } = await put(wrong);
      expect({ name, status, success: told.success }).toEqual({
        name,
        status: 400,
        success: false,
      });
      expect(told.message).toMatch(message);
      expect({ name, status: (await put(body, "none")).status }).toEqual({ name, status: 404 });
    }
    const unknown = await client.call("PUT", `${prefix}/block/update/b1/colour`, { colour: "red" });
    expect(unknown).toMatchObject(refusal(404, "NOT_FOUND", /no route PUT/));
  });
}
