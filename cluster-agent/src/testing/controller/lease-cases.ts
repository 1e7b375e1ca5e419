import { describe, expect, it } from "vitest";
import type { ControllerClient as Client } from "./controller-client.ts";
import { failure, refusal } from "./failure.ts";

/** Leases, and what is made from them. */
export function leaseCases(client: Client): void {
  describe("leases", () => {
    const ask = (fields: object) => {
      const asked = { subject: "s", ttl_ms: 60_000, node_id: client.nodeId, ...fields };
      return client.call("POST", "/leases", asked);
    };
    lifeCases(client, ask);
    takenOverCases(client, ask);
    refusedCases(client, ask);
  });
}

type Ask = (fields: object) => ReturnType<Client["call"]>;

function lifeCases(client: Client, ask: Ask): void {
  it("are taken, shown, renewed and released", async () => {
    const leased = await ask({ lease_id: "l1", gpus: ["0", { id: 1, memory: 4_096 }] });
    const held = { lease_id: "l1", subject: "s", node_id: client.nodeId, renewals: 0 };
    expect(leased).toMatchObject({
      status: 201,
      body: { success: true, data: { ...held, gpus: [{ uuid: "GPU-0" }, { memory: 4_096 }] } },
    });
    const again = await ask({ lease_id: "l1", gpus: ["0", { id: 1, memory: 4_096 }] });
    expect(again).toMatchObject({ status: 200, body: { data: held } });
    expect((await client.call("GET", "/leases")).body).toMatchObject({
      success: true,
      data: [held],
    });
    const renewed = await client.call("POST", "/leases/l1/renew", { ttl_ms: 100_000 });
    expect(renewed).toMatchObject({ status: 200, body: { data: { renewals: 1 } } });
    const released = { status: 200, body: { data: { lease_id: "l1", released: true } } };
    expect(await client.call("DELETE", "/leases/l1?subject=s")).toMatchObject(released);
    const none = { status: 200, body: { data: { lease_id: "l1", released: false } } };
    expect(await client.call("DELETE", "/leases/l1?subject=s")).toMatchObject(none);
    expect((await client.call("GET", "/leases")).body.data).toEqual([]);
  });

  it("are taken over only where they hold as much as an instance needs", async () => {
    const create = (lease_id: string, resources: object) =>
      client.act("create_block", {
        block_data: client.entry("b1", { resources }),
        ...{ lease_ids: [lease_id], lease_subject: "s" },
      });
    await ask({ lease_id: "share", gpus: [{ id: 0, memory: 1 }] });
    await ask({ lease_id: "whole", gpus: [1] });
    const whole = /^lease_ids\.0: lease share holds 1 MiB of GPU-0, expected the whole of it/;
    for (const [lease, resources, message] of [
      ["share", { gpus: 1 }, whole],
      ["share", { gpus: 1, gpuMemoryMiB: 2 }, /expected 2 MiB of it/],
      ["whole", { gpus: 2 }, /^lease_ids\.0: lease whole holds 1 GPUs, expected 2/],
    ] as const) {
      const refused = await create(lease, resources);
      expect(refused).toMatchObject({ status: 400, body: { reason: "PRECONDITION_FAILED" } });
      expect(refused.body.message).toMatch(message);
    }
    expect(await client.taken()).toBe(0);
    expect((await create("share", { gpus: 1, gpuMemoryMiB: 1 })).status).toBe(200);
  });

  it("keep their GPUs from everybody else", async () => {
    await ask({ lease_id: "l1", gpus: [0, 1, 2] });
    expect(await ask({ lease_id: "l1", gpus: [3] })).toMatchObject(
      refusal(409, "ALREADY_EXISTS", /l1/),
    );
    const taken = await ask({ gpus: [2, 3] });
    expect(taken).toMatchObject(refusal(409, "CONFLICT", /GPU-2/));
    expect(taken.body.device_uuids).toEqual(["GPU-2"]);
    const block_data = client.entry("b1", { minInstances: 2 });
    expect(await client.act("create_block", { block_data })).toMatchObject(
      failure(409, "CONFLICT", /no place for instance 2 of 2/),
    );
    expect((await client.create("b1")).status).toBe(200);
    const [{ gpus }] = await client.instances("b1");
    expect(gpus).toEqual([3]);
  });
}

function takenOverCases(client: Client, ask: Ask): void {
  it("are taken over by create_block and scale, in their order", async () => {
    const block_data = client.entry("b1", { minInstances: 2, maxInstances: 4 });
    for (const slot of [3, 1, 2]) await ask({ lease_id: `l${slot}`, gpus: [slot], block_data });
    const from = { lease_ids: ["l3"], lease_subject: "s" };
    expect(await client.act("create_block", { block_data, ...from })).toMatchObject({
      ...{ status: 200, body: { data: "Action performed" } },
    });
    const up = { block_id: "b1", operation: "scale", instances_count: 1, lease_ids: ["l1"] };
    expect((await client.act("scale", up)).body.data).toBe("scaled instances");
    const instances = await client.instances("b1");
    const slots = instances.flatMap(({ gpus }: { gpus: number[] }) => gpus);
    expect(slots.sort()).toEqual([0, 1, 3]);
    const left = (await client.call("GET", "/leases")).body.data;
    expect(left).toMatchObject([{ lease_id: "l2" }]);
  });

  it("that are void or somebody else's fail the whole, and stay", async () => {
    const block_data = client.entry("b1", { minInstances: 2 });
    await ask({ lease_id: "l1", gpus: [1], block_data });
    const create = (more: object) => client.act("create_block", { block_data, ...more });
    expect(await create({ lease_ids: ["l1", "gone"] })).toMatchObject(
      failure(409, "CONFLICT", /no lease gone is held/),
    );
    expect(await create({ lease_ids: ["l1"], lease_subject: "other" })).toMatchObject(
      failure(409, "CONFLICT", /lease l1 is not held by other/),
    );
    expect(await create({ lease_ids: ["a", "b", "c"] })).toMatchObject(
      failure(400, "INVALID_ARGUMENT", /^lease_ids: expected at most 2/),
    );
    expect(await client.taken()).toBe(0);
    expect((await client.call("GET", "/leases")).body.data).toMatchObject([{ lease_id: "l1" }]);
    expect((await client.call("GET", "/blocks/b1")).status).toBe(404);
  });
}

function refusedCases(client: Client, ask: Ask): void {
  it.each([
    [{ subject: "" }, 400, /^subject/],
    [{ ttl_ms: 5 }, 400, /^ttl_ms/],
    [{ ttl_ms: "60" }, 400, /^ttl_ms/],
    [{ node_id: "nowhere" }, 404, /^node_id/],
    [{ gpus: ["9"] }, 400, /^gpus.0/],
    [{ gpus: "0" }, 400, /^gpus/],
    [{ cpu_millis: -1 }, 400, /^cpu_millis/],
    [{ block_data: 7 }, 400, /^block_data/],
    [{ colour: "red" }, 400, /^colour/],
  ])("refuse %j by the field", async (fields, status, message) => {
    expect(await ask(fields)).toMatchObject({
      status,
      body: { success: false, message: expect.stringMatching(message) },
    });
  });

  it("refuse what nobody holds, and what another one holds", async () => {
    const renew = (id: string, fields: object) =>
      client.call("POST", `/leases/${id}/renew`, fields);
    expect(await renew("none", { ttl_ms: 5_000 })).toMatchObject(refusal(404, "NOT_FOUND", /none/));
    await ask({ lease_id: "l1", gpus: [0] });
    expect(await renew("l1", {})).toMatchObject(refusal(400, "INVALID_ARGUMENT", /^ttl_ms/));
    const others = { ttl_ms: 5_000, subject: "other" };
    expect(await renew("l1", others)).toMatchObject(refusal(400, "PRECONDITION_FAILED", /other/));
    expect((await client.call("DELETE", "/leases/l1?subject=other")).status).toBe(400);
    expect((await client.call("GET", "/leases")).body.data).toHaveLength(1);
  });
}
