import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";

const cleanup = new Cleanup();
let fleet: BlockAgent;

beforeEach(async () => {
  fleet = await startBlockAgent(cleanup);
  // Instances outlive their agent: what a test leaves is ended with it.
  cleanup.add(async () => {
    for (const { id } of fleet.blocks.book.blocks()) {
      await fleet.blocks.runtime.removeBlock(id, AbortSignal.timeout(20_000));
    }
  });
});
afterEach(() => cleanup.run());

const component = { containerRegistryInfo: { command: ECHO_COMMAND } };
const block = (id: string, more: object = {}) => ({
  id,
  component,
  resources: { gpus: 1, cpuMillis: 500, memoryMiB: 64 },
  ...more,
});
const asked = { subject: "s", ttl_ms: 60_000, node_id: "node-a" };
const lease = (fields: object) => fleet.call("POST", "/leases", { ...asked, ...fields });
const create = (block_data: object, more: object = {}) =>
  fleet.act({ action: "create_block", block_data, ...more });
const stateOf = (slot: number) =>
  fleet.blocks.ledger.node("node-a").devices.find((one) => one.slot === slot)?.state;
const holds = () => fleet.blocks.ledger.holds().map(({ kind }) => kind);

describe("a lease", () => {
  it("holds GPUs by slot or UUID, whole or a share, and amounts beside them", async () => {
    const gpus = ["0", 1, { id: "2", memory: 4_096 }, { uuid: "GPU-3" }];
    const leased = await lease({ gpus, cpu_millis: 250, memory: 32 });
    expect(leased).toMatchObject({
      status: 201,
      body: {
        success: true,
        data: {
          lease_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
          ...{ subject: "s", node_id: "node-a", renewals: 0 },
          gpus: [
            { uuid: "GPU-0" },
            { uuid: "GPU-1" },
            { uuid: "GPU-2", memory: 4_096 },
            { uuid: "GPU-3" },
          ],
          ...{ cpu_millis: 250, memory: 32, storage: 0 },
        },
      },
    });
    expect([0, 1, 2, 3].map(stateOf)).toEqual(["leased", "leased", "leased", "leased"]);
  });

  it("is the same one when it is asked for again, and another one is refused under its id", async () => {
    const first = await lease({ lease_id: "l1", gpus: [0] });
    const again = await lease({ lease_id: "l1", gpus: ["GPU-0"] });
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.body.data).toMatchObject({ lease_id: "l1", renewals: 0 });
    expect(await lease({ lease_id: "l1", gpus: [1] })).toMatchObject({
      status: 409,
      body: { reason: "ALREADY_EXISTS" },
    });
  });

  it("is the same one when its GPUs were chosen and would be chosen otherwise by now", async () => {
    const data = block("b", { resources: { gpus: 2 } });
    const asking = { lease_id: "l1", block_data: data };
    const first = await lease(asking);
    await lease({ gpus: [0, 1, 2, 3].filter((slot) => stateOf(slot) === "free") });
    const again = await lease(asking);
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.body.data.gpus).toEqual(first.body.data.gpus);
    expect(await lease({ ...asking, subject: "other" })).toMatchObject({
      status: 409,
      body: { reason: "ALREADY_EXISTS" },
    });
    const smaller = block("b", { resources: { gpus: 1 } });
    expect((await lease({ lease_id: "l1", block_data: smaller })).status).toBe(409);
  });

  it("holds what an instance of a block needs, on the GPUs that are named or that fit best", async () => {
    const data = block("b", { resources: { gpus: 2, gpuMemoryMiB: 8_192, cpuMillis: 500 } });
    const named = await lease({ lease_id: "named", gpus: ["3", "1"], block_data: data });
    expect(named.body.data).toMatchObject({
      gpus: [
        { uuid: "GPU-3", memory: 8_192 },
        { uuid: "GPU-1", memory: 8_192 },
      ],
      cpu_millis: 500,
    });
    const chosen = await lease({ lease_id: "chosen", block_data: data });
    expect(chosen.body.data.gpus).toHaveLength(2);
    const huge = block("b", { resources: { gpus: 5 } });
    expect(await lease({ block_data: huge })).toMatchObject({
      status: 409,
      body: { unschedulable: true, reasons: [expect.stringContaining("node-a")] },
    });
  });

  it("names the devices that are taken already", async () => {
    await lease({ gpus: [0, 2] });
    expect(await lease({ gpus: [0, 1, 2] })).toMatchObject({
      status: 409,
      body: { reason: "CONFLICT", ledger: "taken", device_uuids: ["GPU-0", "GPU-2"] },
    });
  });

  it("is renewed a bounded number of times, and released", async () => {
    await lease({ lease_id: "l1", gpus: [0], ttl_ms: 5_000 });
    const renew = (fields: object) => fleet.call("POST", "/leases/l1/renew", fields);
    const renewed = await renew({ ttl_ms: 100_000, subject: "s" });
    expect(renewed).toMatchObject({ status: 200, body: { data: { renewals: 1 } } });
    expect(renewed.body.data.ttl_left_ms).toBeGreaterThan(90_000);
    expect(await renew({ ttl_ms: 5_000, subject: "other" })).toMatchObject({
      status: 400,
      body: { ledger: "fenced" },
    });
    for (let n = 2; n <= 10; n += 1) expect((await renew({ ttl_ms: 5_000 })).status).toBe(200);
    expect(await renew({ ttl_ms: 5_000 })).toMatchObject({
      status: 429,
      body: { message: "lease l1 was renewed 10 times, no more" },
    });
    const release = (query = "") => fleet.call("DELETE", `/leases/l1${query}`);
    expect(await release("?subject=other")).toMatchObject({ status: 400 });
    expect(await release()).toMatchObject({ status: 200, body: { success: true } });
    expect(await release()).toMatchObject({ status: 200 });
    expect(stateOf(0)).toBe("free");
    expect(await renew({ ttl_ms: 5_000 })).toMatchObject({ status: 404 });
  });

  it.each([
    [{ subject: "" }, 400, /^subject/],
    [{ ttl_ms: 5 }, 400, /^ttl_ms: expected a whole number from 1000/],
    [{ ttl_ms: "60" }, 400, /^ttl_ms/],
    [{ node_id: "node-z" }, 404, /^node_id: no node "node-z"/],
    [{ gpus: ["9"] }, 400, /^gpus.0: node node-a has GPUs 0 to 3, not "9"/],
    [{ gpus: ["0", 0] }, 400, /^gpus: names GPU-0 twice/],
    [{ gpus: [{ memory: 5 }] }, 400, /^gpus.0: expected id or uuid/],
    [{ gpus: [{ id: 0, memory: 0 }] }, 400, /gpus/],
    [{ gpus: [{ id: 0, memory: 90_000 }] }, 409, /node-a/],
    [{ cpu_millis: -1 }, 400, /^cpu_millis/],
    [{ cpu_millis: 1, block_data: block("b") }, 400, /^cpu_millis: expected nothing beside/],
    [{ block_data: 5 }, 400, /^block_data: expected an object, got number/],
    [{ block_data: { id: "B" } }, 400, /^block_data\.id: /],
    [{ cpu_millis: 10_000_000 }, 409, /CPU millis/],
    [{ more: 1 }, 400, /more/],
  ])("that is none is refused with the field: %o", async (fields, status, message) => {
    expect(await lease(fields)).toMatchObject({
      status,
      body: { success: false, message: expect.stringMatching(message) },
    });
    expect(holds()).toEqual([]);
  });
});

describe("a block that is made from leases", () => {
  it("takes over each lease's GPUs in order, and chooses the rest", async () => {
    const data = block("b", { minInstances: 3, maxInstances: 5 });
    for (const slot of [3, 1]) {
      await lease({ lease_id: `l${slot}`, gpus: [slot], block_data: data });
    }
    const created = await create(data, { lease_ids: ["l3", "l1"], lease_subject: "s" });
    expect(created).toMatchObject({ status: 200, body: { operation: { state: "done" } } });
    expect(holds()).toEqual(["allocation", "allocation", "allocation"]);
    const { body } = await fleet.call("GET", "/blocks/b");
    const slots = body.data.instances.flatMap(({ gpus }: { gpus: number[] }) => gpus);
    expect(slots.toSorted()).toEqual([0, 1, 3]);
    await lease({ lease_id: "l2", gpus: [2], block_data: data });
    const scaled = { action: "scale", operation: "scale", block_id: "b", instances_count: 1 };
    expect(await fleet.act({ ...scaled, lease_ids: ["l2"] })).toMatchObject({ status: 200 });
    expect([0, 1, 2, 3].map(stateOf)).toEqual(Array(4).fill("allocated"));
  });

  it("fails and leaves nothing when a lease is void, unknown, somebody else's or too small", async () => {
    const data = block("b", { minInstances: 2 });
    await lease({ lease_id: "ok", gpus: [0], block_data: data });
    await lease({ lease_id: "small", gpus: [1], cpu_millis: 100, memory: 64 });
    await fleet.blocks.ledger.lease({
      ...{ leaseId: "foreign", subject: "s", ttlMs: 60_000, storeId: "another-store" },
      claim: {
        ...{ nodeId: "node-a", devices: [{ uuid: "GPU-2" }] },
        ...{ cpuMillis: 500, memoryMiB: 64, storageMiB: 0 },
      },
    });
    const failing = async (ids: string[], more: object = {}) => {
      const { status, body } = await create(data, { lease_ids: ids, ...more });
      expect((await fleet.call("GET", "/blocks/b")).status).toBe(404);
      expect(holds().filter((kind) => kind === "allocation")).toEqual([]);
      return `${status} ${body.message}`;
    };
    expect(await failing(["ok", "gone"])).toBe("409 lease_ids.1: no lease gone is held");
    expect(await failing(["ok", "foreign"])).toBe(
      "409 lease_ids.1: lease foreign was not given out for store ",
    );
    expect(await failing(["ok"], { lease_subject: "other" })).toBe(
      "409 lease_ids.0: lease ok is not held by other",
    );
    expect(await failing(["small"])).toMatch(
      /^400 lease_ids\.0: lease small holds 100 of \d+ CPU millis/,
    );
    expect(stateOf(0)).toBe("leased");
  });

  it.each([
    [{ lease_ids: "l" }, /^lease_ids: expected a list, got string/],
    [{ lease_ids: ["a", "b"] }, /^lease_ids: expected at most 1, one for each instance, got 2/],
    [{ lease_ids: [5] }, /^lease_ids.0: expected the id of a lease/],
    [{ lease_ids: ["a"], lease_subject: 5 }, /^lease_subject/],
  ])("is refused with the field: %o", async (fields, message) => {
    expect(await create(block("b"), fields)).toMatchObject({
      status: 400,
      body: { message: expect.stringMatching(message) },
    });
  });
});

describe("a dry run", () => {
  const dry = async (block_data: object) =>
    (await fleet.act({ action: "dry_run", block_data })).body.data.selection_score_data;

  it("answers for as many instances as the block has at least", async () => {
    const two = await dry(block("b", { resources: { gpus: 2 }, minInstances: 2 }));
    expect(two.score).toBeGreaterThan(0);
    expect(two.placements).toHaveLength(2);
    expect(two.node_info).toEqual(two.placements[0]);
    const slots = two.placements.flatMap(({ gpus }: { gpus: string[] }) => gpus);
    expect(slots.toSorted()).toEqual(["0", "1", "2", "3"]);
    expect((await dry(block("b", { minInstances: 0 }))).placements).toHaveLength(1);
  });

  it("has the score 0 unless all instances find a place at once", async () => {
    expect(await dry(block("b", { resources: { gpus: 2 }, minInstances: 3 }))).toEqual({
      ...{ score: 0, node_info: {} },
      reasons: [expect.stringMatching(/^instance 3 of 3: node node-a has 0 free GPUs/)],
    });
  });
});
