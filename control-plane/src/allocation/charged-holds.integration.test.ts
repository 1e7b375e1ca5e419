import {
  BerthError,
  type Clock,
  type DocumentStore,
  openSqliteDocumentStore,
  silentLogger,
  systemClock,
} from "@berth/service-kit";
import { withApply } from "@berth/service-kit/testing/with-apply";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { HoldCharges } from "../org/charges/hold-charges.ts";
import { type OrgBooks, openOrgBooks } from "../org/org-books.ts";
import { AllocatorHarness } from "../testing/allocator-harness.ts";
import { fleetOf } from "../testing/fleet-views.ts";
import { ModelFleet } from "../testing/model-fleet.ts";

/** So many GPUs of the first node, the free ones first. */
const SOME = `node = input_data["cluster_data"]["m"]["data"]["nodes"]["nodeData"][0]
free = [g["id"] for g in node["gpus"]["gpus"] if g["state"] == "free"]
return {"cluster_id": "m", "node_id": node["id"], "gpus": free[:parameters.get("count", 1)]}`;
const FLAVOR = "NVIDIA T4";
const ORG = "default_org";

let harness: AllocatorHarness;
let fleet: ModelFleet;
let some: string;
let store: DocumentStore;
let books: OrgBooks;
let charges: HoldCharges;
let laterMs: number;
let unheard: readonly string[];
const clock: Pick<Clock, "timestamp"> = {
  timestamp: () => new Date(Date.now() + laterMs).toISOString(),
};

beforeAll(async () => {
  harness = new AllocatorHarness();
  await harness.ready();
  some = await harness.publish("some", SOME);
});
afterAll(() => harness.close());
beforeEach(async () => {
  laterMs = 0;
  unheard = [];
  fleet = new ModelFleet({ m: { nodes: 1, gpus: 8 } });
  harness.agents = fleet;
  harness.views.clear();
  harness.views.set("m", fleet.get("m").view());
  harness.assumptions.remove(ORG, "m");
  store = openSqliteDocumentStore(":memory:", systemClock);
  await open(store);
  await books.quotas.create({ quota_id: "team", nominal: { [FLAVOR]: 3 } });
  await quota("q", "s");
});
afterEach(() => store.close());

async function open(over: DocumentStore): Promise<void> {
  const common = { orgId: ORG, logger: silentLogger };
  books = await openOrgBooks({ ...common, store: over, clock: systemClock });
  const snapshot = async () => fleetOf(...harness.views.values());
  charges = new HoldCharges({
    ...{ books, blocks: fleet.blocks, snapshot, clock, logger: silentLogger },
    unheard: async () => unheard,
  });
  harness.holds = charges;
}

const quota = (quotaId: string, subjectId: string) =>
  books.quotas.create({ quota_id: quotaId, subject_id: subjectId, parent_id: "team" });
const used = () => books.charges.usedBy("team")[FLAVOR] ?? 0;
const allocate = async (hold: object, count = 1) => {
  const asked = { hold, parameters: { count }, assume_seconds: 0 };
  return (await harness.allocate(some, asked)) as { held: boolean; lease_id?: string };
};
const rows = () => books.charges.all().map(({ chargeId, quotaId }) => [chargeId, quotaId]);

describe("a hold of a subject", () => {
  it("is charged to its quota before it is asked for, and refused where there is no room", async () => {
    let before = -1;
    fleet.before = () => {
      before = used();
    };
    const held = await allocate({ subject: "s" }, 2);
    expect(held).toMatchObject({ held: true });
    expect(before).toBe(2_000);
    expect(rows()).toEqual([[`lease/${held.lease_id}`, "q"]]);
    fleet.before = () => {};
    expect(await allocate({ subject: "s" }, 2)).toMatchObject({
      ...{ success: true, held: false, hold_reason: "QUOTA_EXCEEDED", data: { cluster_id: "m" } },
      hold_refused: `quota "team" has a nominal of 3 GPUs of ${FLAVOR}, others use 2 GPUs, and 2 GPUs were asked for: 1 GPU would fit`,
    });
    expect(fleet.get("m").heldLeases).toBe(1);
    expect(await allocate({ subject: "s" })).toMatchObject({ held: true });
    expect(used()).toBe(3_000);
  });

  it("is charged to the quota that is named where there are several, and to nobody's where there is none", async () => {
    await quota("q2", "s");
    await expect(allocate({ subject: "s" })).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      message: 'hold.quota_id: subject "s" has several quotas, expected one of q, q2',
    });
    const held = await allocate({ subject: "s", quota_id: "q2" });
    expect(rows()).toEqual([[`lease/${held.lease_id}`, "q2"]]);
    await expect(allocate({ subject: "t", quota_id: "q2" })).rejects.toThrow("no quota of subject");
    await expect(allocate({ quota_id: "none" })).rejects.toMatchObject({ reason: "NOT_FOUND" });
    expect(await allocate({ subject: "stranger" })).toMatchObject({ held: true });
    expect(await harness.allocate(some, { hold: true })).toMatchObject({ held: true });
    expect(used()).toBe(1_000);
  });

  it("charges nothing when it was not got", async () => {
    harness.agents = {
      call: async () => ({ status: 503, bodyJson: '{"reason":"UNAVAILABLE","message":"away"}' }),
    };
    expect(await allocate({ subject: "s" }, 2)).toMatchObject({ held: false });
    // Nobody knows yet whether the cluster has it.
    expect(used()).toBe(2_000);
    laterMs = 60_000;
    await charges.look();
    expect(rows()).toEqual([]);
    harness.agents = {
      call: async () => ({ status: 409, bodyJson: '{"reason":"CONFLICT","message":"taken"}' }),
    };
    expect(await allocate({ subject: "s" }, 2)).toMatchObject({ held: false });
    expect(rows()).toEqual([]);
  });

  it("is charged until its ledger has it no more", async () => {
    const held = await allocate({ subject: "s" }, 2);
    laterMs = 60_000;
    await charges.look();
    expect(used()).toBe(2_000);
    fleet.get("m").leases.delete(String(held.lease_id));
    fleet.get("m").touch();
    fleet.setLive("m", false);
    await charges.look();
    expect(used()).toBe(2_000);
    fleet.setLive("m", true);
    await charges.look();
    expect(used()).toBe(0);
  });

  it("is settled after a restart, when its cluster was heard, and when that is removed", async () => {
    await allocate({ subject: "s" });
    await open(store);
    expect(used()).toBe(1_000);
    await charges.look();
    expect(used()).toBe(1_000);
    harness.views.clear();
    unheard = ["m"];
    await charges.look();
    expect(used()).toBe(1_000);
    unheard = [];
    await charges.look();
    expect(used()).toBe(0);
  });

  it("that has just been charged is not taken for one that is over", async () => {
    await charges.take("q", [{ leaseId: "m:x", clusterId: "m", gpus: { [FLAVOR]: 1_000 } }]);
    await charges.look();
    expect(used()).toBe(1_000);
    laterMs = 60_000;
    await charges.look();
    expect(used()).toBe(0);
  });

  it("is not made when the store does not take its charge", async () => {
    const failing = withApply(store, async () => {
      throw new BerthError("UNAVAILABLE", "the disk is full");
    });
    await open(failing);
    await expect(allocate({ subject: "s" })).rejects.toThrow("the disk is full");
    expect(fleet.get("m").heldLeases).toBe(0);
  });

  it("never takes more than there is, however many ask at once", async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => allocate({ subject: "s" })));
    const held = answers.filter((answer) => answer.held === true);
    expect(held.length).toBeLessThanOrEqual(3);
    await vi.waitFor(() => expect(used()).toBe(held.length * 1_000));
    expect(fleet.get("m").heldLeases).toBe(held.length);
  });
});
