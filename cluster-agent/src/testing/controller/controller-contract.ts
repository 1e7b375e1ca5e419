import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Cleanup } from "./agent.ts";
import type { Answer } from "./block-agent.ts";
import { ControllerClient as Client, type ControllerUnderTest } from "./controller-client.ts";

/** Shapes of one action: flat, as the existing deployment takes it, and nested, as the seed writes it. */
const SHAPES = [
  ["flat", (action: string, fields: object) => ({ action, ...fields })],
  ["nested in data", (action: string, fields: object) => ({ action, data: fields })],
] as const;

const failure = (status: number, reason: string, text?: RegExp) => ({
  status,
  body: {
    success: false,
    reason,
    ...(text === undefined ? {} : { data: expect.stringMatching(text) }),
  },
});

/**
 * What every cluster-agent answers on the routes of the Cluster Controller, whatever runs its blocks: each endpoint and
 * action, success and failure, in the seed's shape and in that of the existing deployment.
 */
export function controllerContract(
  name: string,
  open: (cleanup: Cleanup) => Promise<ControllerUnderTest>,
): void {
  describe(`the Cluster Controller on ${name}`, () => {
    const cleanup = new Cleanup();
    const client = new Client();
    beforeAll(() => client.open(cleanup, open));
    afterAll(() => cleanup.run());
    afterEach(() => client.removeAll());
    describe.each(SHAPES)("takes actions %s:", (_name, shaped) => {
      const send: Send = (action, fields) => {
        return client.call("POST", "/executeAction", shaped(action, fields));
      };
      lifeTests(client, send);
      scaleTests(client, send);
      instanceTests(client, send);
      otherActionTests(client, send);
    });
    refusalTests(client);
    blockRouteTests(client);
    toldTests(client);
  });
}

/** Sends one action in the shape that a suite is about. */
type Send = (action: string, fields: object) => Promise<Answer>;

/** Blocks come and go. */
function lifeTests(client: Client, send: Send): void {
  it("create_block and remove_block", async () => {
    const created = await send("create_block", {
      block_data: client.entry("b1", { minInstances: 2 }),
    });
    expect(created).toMatchObject({
      status: 200,
      body: { success: true, data: "Action performed" },
    });
    expect(await client.instances("b1")).toHaveLength(2);
    expect(await client.taken()).toBe(2);
    expect(await send("create_block", { block_data: client.entry("b1") })).toMatchObject(
      failure(409, "ALREADY_EXISTS", /b1/),
    );
    expect(await send("remove_block", { block_id: "b1" })).toMatchObject({
      status: 200,
      body: { success: true, data: "Action performed" },
    });
    expect(await client.taken()).toBe(0);
    expect(await send("remove_block", { block_id: "b1" })).toMatchObject(
      failure(404, "NOT_FOUND", /b1/),
    );
  });

  it("create_block without room leaves nothing", async () => {
    const refused = await send("create_block", {
      block_data: client.entry("b1", { minInstances: 5 }),
    });
    expect(refused).toMatchObject(failure(409, "CONFLICT", /no place for instance 5 of 5/));
    expect(await client.taken()).toBe(0);
    expect((await client.call("GET", "/blocks/b1")).status).toBe(404);
  });
}

/** Blocks grow and shrink. */
function scaleTests(client: Client, send: Send): void {
  it("scale, up by the controller's choice and by allocation_data, down by instances_list", async () => {
    await client.create("b1", { maxInstances: 3 });
    const up = { block_id: "b1", operation: "scale" };
    expect(await send("scale", { ...up, instances_count: 1 })).toMatchObject({
      status: 200,
      body: { success: true, data: "scaled instances" },
    });
    const allocation_data = [{ node_id: client.nodeId, gpus: ["3"] }];
    const placed = await send("scale", { ...up, instances_count: 1, allocation_data });
    expect(placed.status).toBe(200);
    const gpus = (await client.instances("b1")).flatMap((one: { gpus: number[] }) => one.gpus);
    expect(gpus.sort()).toEqual([0, 1, 3]);
    expect(await send("scale", { ...up, instances_count: 1 })).toMatchObject(
      failure(400, "PRECONDITION_FAILED", /maxInstances 3/),
    );
    const [first, second] = await client.instances("b1");
    const down = { block_id: "b1", operation: "downscale" };
    const list = [first.instance_id, second.instance_id];
    expect((await send("scale", { ...down, instances_list: list })).status).toBe(200);
    expect(await client.taken()).toBe(1);
    expect(await send("scale", { ...down, instances_list: ["in-none"] })).toMatchObject(
      failure(404, "NOT_FOUND", /in-none/),
    );
  });

  it("scale refuses what it cannot do", async () => {
    await client.create("b1");
    const up = { block_id: "b1", operation: "scale", instances_count: 1 };
    expect(await send("scale", { ...up, operation: "sideways" })).toMatchObject(
      failure(400, "INVALID_ARGUMENT", /operation/),
    );
    expect(await send("scale", { ...up, instances_count: 0 })).toMatchObject(
      failure(400, "INVALID_ARGUMENT", /instances_count/),
    );
    const elsewhere = [{ node_id: "nowhere", gpus: [] }];
    expect(await send("scale", { ...up, allocation_data: elsewhere })).toMatchObject(
      failure(404, "NOT_FOUND", /nowhere/),
    );
    const occupied = [{ node_id: client.nodeId, gpus: [0] }];
    expect(await send("scale", { ...up, allocation_data: occupied })).toMatchObject(
      failure(409, "CONFLICT"),
    );
    expect(await send("scale", { ...up, block_id: "none" })).toMatchObject(
      failure(404, "NOT_FOUND", /none/),
    );
    expect(await client.taken()).toBe(1);
  });
}

/** Single instances. */
function instanceTests(client: Client, send: Send): void {
  it("remove_instance, not below minInstances without force", async () => {
    await client.create("b1", { minInstances: 1 });
    const [{ instance_id }] = await client.instances("b1");
    expect(await send("remove_instance", { block_id: "b1", instance_id })).toMatchObject(
      failure(400, "PRECONDITION_FAILED", /minInstances/),
    );
    const forced = { block_id: "b1", instance_id, force: true };
    expect((await send("remove_instance", forced)).status).toBe(200);
    expect(await client.taken()).toBe(0);
    expect(await send("remove_instance", forced)).toMatchObject(failure(404, "NOT_FOUND"));
  });

  it.each(["reassign-instances", "reassign"])("%s, the new one first", async (action) => {
    await client.create("b1");
    await client.ready("b1", 1);
    const [old] = await client.instances("b1");
    const moved = { block_id: "b1", instance_id: old.instance_id };
    expect(await send(action, moved)).toMatchObject({ status: 200, body: { success: true } });
    const [now, ...more] = await client.instances("b1");
    expect(more).toEqual([]);
    expect(now.instance_id).not.toBe(old.instance_id);
    expect(await send(action, moved)).toMatchObject(failure(404, "NOT_FOUND"));
  });
}

/** Everything else that is an action. */
function otherActionTests(client: Client, send: Send): void {
  it("dry_run, which takes nothing", async () => {
    const data = { score: 1, node_info: { node_id: client.nodeId, gpus: ["0"] } };
    expect(await send("dry_run", { block_data: client.entry("b1") })).toMatchObject({
      status: 200,
      body: { success: true, data: { selection_score_data: data } },
    });
    const large = client.entry("b1", { resources: { gpus: 5 } });
    expect((await send("dry_run", { inputs: large })).body.data).toMatchObject({
      selection_score_data: { score: 0, node_info: {} },
    });
    expect(await send("dry_run", {})).toMatchObject(failure(400, "INVALID_ARGUMENT", /block_data/));
    expect(await client.taken()).toBe(0);
  });

  it("parameter_update, which reaches the instances and the record", async () => {
    await client.create("b1", { parameters: { keep: 1 } });
    await client.ready("b1", 1);
    const [{ instance_id }] = await client.instances("b1");
    const updated = await send("parameter_update", {
      ...{ block_id: "b1", update_data: { prefix: "x" } },
    });
    expect(updated).toMatchObject({ status: 200, body: { success: true } });
    expect(updated.body.data[instance_id]).toMatchObject({ success: true });
    const { body } = await client.call("GET", "/blocks/b1");
    expect(body.data.parameters).toEqual({ keep: 1, prefix: "x" });
    expect(await send("parameter_update", { block_id: "b1" })).toMatchObject(
      failure(400, "INVALID_ARGUMENT", /update_data/),
    );
  });

  it.each([
    "failed_pods",
    "init_create_status_update",
    "init_remove_status_update",
    "query_init_container_data",
  ])("%s, which comes later", async (action) => {
    expect(await send(action, {})).toMatchObject(failure(501, "UNIMPLEMENTED", /later/));
  });
}

/** Requests that are no action. */
function refusalTests(client: Client): void {
  it.each([
    [{}, failure(400, "INVALID_ARGUMENT", /action: expected a text/)],
    [{ action: "dance" }, failure(400, "INVALID_ARGUMENT", /^Unknown action: dance$/)],
    [{ action: "create_block" }, failure(400, "INVALID_ARGUMENT", /block_data/)],
    [{ action: "create_block", data: 7 }, failure(400, "INVALID_ARGUMENT", /data: expected/)],
    [
      { action: "remove_block", block_id: "b", cluster_id: "other" },
      failure(400, "INVALID_ARGUMENT", /cluster_id/),
    ],
  ])("refuses %j by name", async (body, expected) => {
    expect(await client.call("POST", "/executeAction", body)).toMatchObject(expected);
  });
}

/** The blocks query and update APIs. */
function blockRouteTests(client: Client): void {
  it("lists, shows, queries and updates blocks", async () => {
    await client.create("b1", { tags: ["gpu"], minInstances: 1 });
    await client.create("b2", { resources: { gpus: 0 } });
    expect((await client.call("GET", "/blocks")).body).toMatchObject({
      success: true,
      data: [{ id: "b1" }, { id: "b2" }],
    });
    expect((await client.call("GET", "/blocks/none")).status).toBe(404);
    const query = { query: { tags: { $in: ["gpu"] } }, options: { sort: { id: 1 }, limit: 10 } };
    const found = await client.call("POST", "/blocks/query", query);
    expect(found.body.data).toMatchObject([{ id: "b1" }]);
    const code = { query: { $where: "1" } };
    expect((await client.call("POST", "/blocks/query", code)).status).toBe(400);
    const set = { $set: { "blockMetadata.description": "d", minInstances: 2 } };
    expect((await client.call("PUT", "/block/update/b1", set)).body).toMatchObject({
      success: true,
      data: { blockMetadata: { description: "d" }, minInstances: 2 },
    });
    const plain = { "blockMetadata.description": "e" };
    expect((await client.call("PUT", "/block/update/b1", plain)).body.data).toMatchObject({
      blockMetadata: { description: "e" },
    });
    const least = { minInstances: 1 };
    expect((await client.call("PUT", "/block/update/b1/min_instances", least)).status).toBe(200);
    expect((await client.call("PUT", "/block/update/none", plain)).status).toBe(404);
    expect((await client.call("PUT", "/block/update/b1", { id: "b3" })).status).toBe(400);
  });
}

/** What the controller tells, and routes that are aliases or come later. */
function toldTests(client: Client): void {
  it("tells of nodes, its ledger and its operations", async () => {
    const { nodeId } = client;
    expect((await client.call("GET", "/healthy_nodes")).body).toMatchObject({ nodes: [nodeId] });
    expect((await client.call("GET", "/nodes_status")).body.nodes_status[0].node_id).toBe(nodeId);
    await client.create("b1");
    expect((await client.call("GET", "/ledger")).body.data).toMatchObject({ state: "open" });
    const [allocation] = (await client.call("GET", "/allocations?block_id=b1")).body.data;
    expect(allocation).toMatchObject({ block_id: "b1", node_id: nodeId, orphan: false });
    const [operation] = (await client.call("GET", "/operations?block_id=b1")).body.data;
    expect(operation).toMatchObject({ action: "create_block", state: "done" });
    const shown = await client.call("GET", `/operations/${operation.operation_id}`);
    expect(shown.body.data.operation_id).toBe(operation.operation_id);
    expect((await client.call("POST", `/operations/${operation.operation_id}/retry`)).status).toBe(
      400,
    );
    expect((await client.call("GET", "/operations/none")).status).toBe(404);
  });

  it.each([
    ["GET", "/cluster-actions/get-cluster", 200],
    ["GET", "/blocks/blocks", 200],
    ["GET", "/controller/cluster-actions/get-cluster", 200],
    ["GET", "/check_stability", 501],
    ["POST", "/mgmt", 501],
    ["POST", "/mgmt/mgmt", 501],
    ["POST", "/vdag-controller", 501],
  ] as const)("answers %s %s with %d", async (method, url, status) => {
    const body = method === "POST" ? {} : undefined;
    expect((await client.call(method, url, body)).status).toBe(status);
  });
}
