import { BerthError, silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { BlockCharges } from "../org/charges/block-charges.ts";
import type { OrgBooks } from "../org/org-books.ts";
import { clusterBlocks } from "../testing/org-fixture.ts";
import { anEntry, PlacementHarness } from "../testing/placement-harness.ts";

const FLAVOR = "NVIDIA T4";
const never = new AbortController().signal;

let harness: PlacementHarness;
let laterMs: number;
beforeEach(async () => {
  laterMs = 0;
  harness = new PlacementHarness({ m: { nodes: 2, gpus: 4 } });
  await harness.start();
  const { quotas } = books();
  await quotas.create({ quota_id: "team", nominal: { [FLAVOR]: 4 } });
  const allocation_info = { block_id: "b", gpus_per_replica: { [FLAVOR]: 1 } };
  await quotas.create({ quota_id: "q", subject_id: "s", parent_id: "team", allocation_info });
});
afterEach(() => harness.close());

function books(): OrgBooks {
  if (harness.books === undefined) throw new Error("start the harness first");
  return harness.books;
}

const used = () => (books().charges.usedBy("team")[FLAVOR] ?? 0) / 1_000;
const scale = (count: number) => {
  const fields = { action: "scale", operation: "scale", block_id: "b", instances_count: count };
  return harness.placing.gateway.act({ clusterId: "m", fields, waitMs: 5_000 }, never);
};

/** Makes the block a new one with so many instances, as its cluster tells. */
function has(instances: number): void {
  const cluster = harness.fleet.get("m");
  const told = clusterBlocks("m", { b: { ready: instances, instances } }).blocks.get("b");
  if (told === undefined) throw new Error("there is no such block");
  cluster.blocks.set("b", told);
  cluster.touch();
}

/** Looks as it stands so long after a charge. */
async function look(): Promise<void> {
  const clock = { timestamp: () => new Date(Date.now() + laterMs).toISOString() };
  const { homes, placements } = harness.placing;
  const charges = new BlockCharges({
    ...{ books: books(), blocks: harness.fleet.blocks, clock, logger: silentLogger },
    unheard: (blockId) => homes.unheard(blockId),
    isUnderway: (blockId) => placements.openOf(blockId) !== undefined,
  });
  await charges.look();
}

it("is charged for its instances in the transaction that accepts it, or is not accepted", async () => {
  await expect(harness.place({ block_data: anEntry("b", 1, 5) })).rejects.toMatchObject({
    reason: "QUOTA_EXCEEDED",
    message: `quota "team" has a nominal of 4 GPUs of ${FLAVOR}, others use 0 GPUs, and 5 GPUs were asked for: 4 GPUs would fit`,
  });
  expect(harness.placementOf("b")).toBeUndefined();
  expect(used()).toBe(0);
  const placed = await harness.place({ block_data: anEntry("b", 1, 3) });
  expect(placed.phase).toBe("done");
  expect(used()).toBe(3);
  expect(books().charges.get("block/q")).toMatchObject({ kind: "block", instances: 3 });
  const other = await harness.place({ block_data: anEntry("other", 1, 2) });
  expect(other.phase).toBe("done");
  expect(used()).toBe(3);
});

it("is charged for what is added by hand, before it is asked for", async () => {
  await harness.place({ block_data: anEntry("b", 1, 3) });
  has(3);
  const before = harness.fleet.log.length;
  await expect(scale(2)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
  expect(harness.fleet.log).toHaveLength(before);
  await scale(1);
  expect(used()).toBe(4);
});

it("is charged for all that is added at a time, in either form of the action, and by requests to scale", async () => {
  await harness.place({ block_data: anEntry("b", 1, 1) });
  has(1);
  const told = Promise.withResolvers<void>();
  harness.fleet.before = () => told.promise;
  const fields = { operation: "scale", block_id: "b", instances_count: 2 };
  const act = (own: object) =>
    harness.placing.gateway.act(
      { clusterId: "m", fields: { action: "scale", ...own }, waitMs: 0 },
      never,
    );
  const all = [act(fields), act({ data: fields }), act(fields)];
  const refused = { reason: "QUOTA_EXCEEDED" };
  await expect(all[1]).rejects.toMatchObject(refused);
  await expect(all[2]).rejects.toMatchObject(refused);
  await vi.waitFor(() => expect(used()).toBe(3));
  expect(books().charges.get("block/q")).toMatchObject({ instances: 1, adding: 2 });
  told.resolve();
  await all[0];
});

it("that is made by an action of its cluster is charged, too", async () => {
  const make = (minInstances: number) => {
    const fields = { action: "create_block", block_data: anEntry("b", 1, minInstances) };
    return harness.placing.gateway.act({ clusterId: "m", fields, waitMs: 5_000 }, never);
  };
  await expect(make(5)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
  expect(books().charges.all()).toEqual([]);
  expect((await make(2)).status).toBe(200);
  await vi.waitFor(() => expect(used()).toBe(2));
});

describe("instances that take leases over", () => {
  const fields = { action: "scale", operation: "scale", block_id: "b", instances_count: 2 };
  const withLease = { ...fields, lease_ids: ["m:l", "m:unknown"] };
  const act = () =>
    harness.placing.gateway.act({ clusterId: "m", fields: withLease, waitMs: 5_000 }, never);

  async function holds(gpus: number): Promise<void> {
    const { charges, transactions } = books();
    const lease = {
      ...{ chargeId: "lease/m:l", quotaId: "q", kind: "lease" as const, clusterId: "m" },
      ...{ gpus: { [FLAVOR]: gpus * 1_000 }, operationId: "m:l" },
      createdAt: new Date().toISOString(),
    };
    await transactions.run((plan) => charges.planAdoption(plan, lease));
  }

  it("are charged once, and the lease again when they do not come", async () => {
    await harness.place({ block_data: anEntry("b", 1, 2) });
    has(2);
    await holds(2);
    expect(used()).toBe(4);
    await expect(scale(2)).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    harness.fleet.get("m").denies = { reason: "CONFLICT", message: "no room" };
    expect((await act()).status).toBe(409);
    expect(books().charges.get("lease/m:l")?.gpus).toEqual({ [FLAVOR]: 2_000 });
    expect(books().charges.get("lease/m:l")).not.toHaveProperty("given");
    expect(used()).toBe(4);
  });

  it("free nothing of the lease for others before their cluster has answered", async () => {
    await harness.place({ block_data: anEntry("b", 1, 1) });
    has(0);
    laterMs = 60_000;
    await look();
    await holds(4);
    const answered = Promise.withResolvers<void>();
    harness.fleet.before = () => answered.promise;
    const acted = act();
    await vi.waitFor(() => expect(books().charges.get("lease/m:l")).toHaveProperty("given"));
    expect(used()).toBe(4);
    harness.fleet.get("m").denies = { reason: "CONFLICT", message: "no room" };
    answered.resolve();
    expect((await acted).status).toBe(409);
    expect(books().charges.get("lease/m:l")?.gpus).toEqual({ [FLAVOR]: 4_000 });
    expect(used()).toBe(4);
  });

  it.each([
    { isHeld: true, left: 4 },
    { isHeld: false, left: 0 },
  ])("and of which nothing was heard leave what its ledger says: %j", async ({ isHeld, left }) => {
    await harness.place({ block_data: anEntry("b", 1, 1) });
    has(0);
    laterMs = 60_000;
    await look();
    await holds(4);
    harness.fleet.before = () => Promise.reject(new BerthError("UNAVAILABLE", "cut off"));
    await expect(act()).rejects.toMatchObject({ reason: "UNAVAILABLE" });
    expect(used()).toBe(4);
    const lease = { nodeId: "m-node-0", slots: ["0"], subject: "s", endsAtMs: 9e15 };
    if (isHeld) harness.fleet.get("m").leases.set("m:l", lease);
    harness.fleet.get("m").touch();
    await look();
    expect(used()).toBe(left);
  });
});

describe("a block that is there already", () => {
  const allocation_info = (gpus: number) => ({
    allocation_info: { block_id: "other", gpus_per_replica: { [FLAVOR]: gpus } },
  });
  beforeEach(async () => {
    await harness.place({ block_data: anEntry("other", 1, 6) });
    const told = clusterBlocks("m", { other: { ready: 6, instances: 6 } }).blocks.get("other");
    if (told !== undefined) harness.fleet.get("m").blocks.set("other", told);
    harness.fleet.get("m").touch();
  });

  it("is charged to a quota that comes to name it, or the quota is refused", async () => {
    const { quotas } = books();
    const refused = {
      reason: "PRECONDITION_FAILED",
      message: `allocation_info: block "other" has 6 instances: quota "team" has a nominal of 4 GPUs of ${FLAVOR}, others use 0 GPUs, and 6 GPUs were asked for: 4 GPUs would fit`,
    };
    const quota = { quota_id: "q2", subject_id: "s2", parent_id: "team" };
    await expect(quotas.create({ ...quota, ...allocation_info(1) })).rejects.toMatchObject(refused);
    expect(() => quotas.get("q2")).toThrow('no quota "q2"');
    await quotas.create(quota);
    await expect(quotas.change("q2", allocation_info(1))).rejects.toMatchObject(refused);
    await quotas.change("q2", allocation_info(0.5));
    expect(used()).toBe(3);
    await expect(quotas.change("q2", allocation_info(1))).rejects.toMatchObject({
      reason: "PRECONDITION_FAILED",
    });
    await quotas.change("q2", { allocation_info: "nothing" });
    expect(used()).toBe(0);
  });

  it("is not named while instances are being added that nobody has charged", async () => {
    const { quotas } = books();
    const answered = Promise.withResolvers<void>();
    harness.fleet.before = () => answered.promise;
    const fields = { action: "scale", operation: "scale", instances_count: 2 };
    const more = { ...fields, block_id: "other" };
    const acted = harness.placing.gateway.act(
      { clusterId: "m", fields: more, waitMs: 5_000 },
      never,
    );
    const quota = { quota_id: "q2", subject_id: "s2", ...allocation_info(1) };
    await expect(quotas.create(quota)).rejects.toMatchObject({
      reason: "CONFLICT",
      message:
        'allocation_info: instances of block "other" are being added; try again when they are there',
    });
    answered.resolve();
    await acted;
    await quotas.create(quota);
    expect(quotas.get("q2").revision).toBe(1);
  });
});

it("is charged for what its cluster tells in the end, whatever the rules say", async () => {
  await harness.place({ block_data: anEntry("b", 1, 3) });
  has(1);
  await look();
  expect(used()).toBe(3);
  laterMs = 60_000;
  harness.fleet.setLive("m", false);
  await look();
  expect(used()).toBe(3);
  harness.fleet.setLive("m", true);
  await look();
  expect(used()).toBe(1);
  has(6);
  await look();
  expect(used()).toBe(6);
  harness.fleet.get("m").blocks.delete("b");
  harness.fleet.get("m").touch();
  await look();
  expect(used()).toBe(0);
  expect(books().charges.all()).toEqual([]);
});

it("counts beside what requests to scale are charged for, not on top of it", async () => {
  await harness.place({ block_data: anEntry("b", 1, 3) });
  const { charges, transactions } = books();
  const about = {
    operationId: "u",
    createdAt: new Date().toISOString(),
    kind: "replicas" as const,
  };
  const row = { chargeId: "replicas/q", quotaId: "q", gpus: { [FLAVOR]: 2_000 }, ...about };
  await transactions.run((plan) => charges.planAdoption(plan, row));
  laterMs = 60_000;
  has(2);
  await look();
  expect(used()).toBe(2);
  has(3);
  await look();
  expect(used()).toBe(3);
});

it("is charged for what is there as soon as nothing comes of more", async () => {
  await harness.place({ block_data: anEntry("b", 1, 3) });
  has(3);
  const cluster = harness.fleet.get("m");
  cluster.denies = { reason: "CONFLICT", message: "no room" };
  expect(await scale(1)).toMatchObject({ status: 409 });
  const row = { operationId: "seen", instances: 3 };
  await vi.waitFor(() => expect(books().charges.get("block/q")).toMatchObject(row));
  expect(used()).toBe(3);
});

it("is not charged any more when it could not be made", async () => {
  harness.fleet.get("m").denies = { reason: "PRECHECK_DENIED", message: "not today" };
  expect((await harness.place({ block_data: anEntry("b", 1, 3) })).phase).toBe("failed");
  await vi.waitFor(() => expect(books().charges.all()).toEqual([]));
});
