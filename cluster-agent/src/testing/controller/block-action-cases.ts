import { expect, it } from "vitest";
import type { ControllerClient as Client } from "./controller-client.ts";
import { failure, type Send } from "./failure.ts";

/** Every action of `/executeAction`, done and refused, in the shape that `send` writes. */
export function blockActionCases(client: Client, send: Send): void {
  lifeCases(client, send);
  scaleCases(client, send);
  instanceCases(client, send);
  otherActionCases(client, send);
}

/** Blocks come and go. */
function lifeCases(client: Client, send: Send): void {
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
function scaleCases(client: Client, send: Send): void {
  it("create_block with no instance where it may have none", async () => {
    await client.create("b1", { maxInstances: 0 });
    expect(await client.instances("b1")).toEqual([]);
    const up = { block_id: "b1", operation: "scale", instances_count: 1 };
    expect(await send("scale", up)).toMatchObject(failure(400, "PRECONDITION_FAILED"));
  });

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
function instanceCases(client: Client, send: Send): void {
  it("remove_instance, not below minInstances without force", async () => {
    await client.create("b1", { minInstances: 1 });
    const [{ instance_id }] = await client.instances("b1");
    expect(await send("remove_instance", { block_id: "b1", instance_id })).toMatchObject(
      failure(400, "PRECONDITION_FAILED", /^instance_id: .*minInstances/),
    );
    const forced = { block_id: "b1", instance_id, force: true };
    expect((await send("remove_instance", forced)).status).toBe(200);
    expect(await client.taken()).toBe(0);
    expect(await send("remove_instance", forced)).toMatchObject(
      failure(404, "NOT_FOUND", /^instance_id: /),
    );
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
function otherActionCases(client: Client, send: Send): void {
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
