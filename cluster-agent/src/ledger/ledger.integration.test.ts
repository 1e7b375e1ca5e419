import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DocumentStore, openSqliteDocumentStore, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  asking,
  claimOf,
  leasing,
  nodeCapacity,
  purposeOf,
  take,
  testLedger,
} from "../testing/ledger.ts";
import type { Ledger, LedgerOptions } from "./ledger.ts";

let directory: string;
let sqlite: DocumentStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-ledger-"));
  const file = join(directory, "ledger.sqlite");
  sqlite = openSqliteDocumentStore(file, systemClock, { durability: "process" });
});
afterEach(async () => {
  await sqlite.close();
  rmSync(directory, { recursive: true });
});

async function openTest(options: Partial<LedgerOptions> = {}) {
  const test = await testLedger({ store: sqlite, ...options });
  await test.ledger.reconcile([]);
  return test;
}
const storedNodes = async () =>
  (await sqlite.list({ orgId: "o", collection: "ledger_nodes" })).map(({ id }) => id);
const ids = (holds: readonly { readonly id: string }[]) => holds.map(({ id }) => id).sort();
const stateOf = (ledger: Ledger, uuid: string) =>
  ledger.node("n1").devices.find((device) => device.uuid === uuid)?.state;

describe("Ledger.take", () => {
  it("takes on several nodes all or nothing", async () => {
    const { ledger } = await openTest();
    const both = [asking("a1", claimOf("n1", ["n1-g0"])), asking("a2", claimOf("n2", ["n2-g0"]))];
    expect(await ledger.take(both)).toMatchObject({
      kind: "taken",
      holds: [{ id: "a1" }, { id: "a2" }],
    });
    const half = [asking("a3", claimOf("n1", ["n1-g1"])), asking("a4", claimOf("n2", ["n2-g0"]))];
    expect(await ledger.take(half)).toMatchObject({ reason: "taken", deviceUuids: ["n2-g0"] });
    expect(ids(ledger.holds())).toEqual(["a1", "a2"]);
    expect(stateOf(ledger, "n1-g1")).toBe("free");
  });

  it("counts two claims of one call against each other", async () => {
    const { ledger } = await openTest();
    const twice = ["a1", "a2"].map((id) => asking(id, claimOf("n1", ["n1-g0"])));
    expect(await ledger.take(twice)).toMatchObject({ reason: "taken" });
    expect(await ledger.take([twice[0], twice[0]].flatMap((each) => each ?? []))).toMatchObject({
      reason: "invalid",
    });
    expect(ledger.size).toBe(0);
  });

  it("takes once what is asked for twice, and refuses the id for anything else", async () => {
    const { ledger } = await openTest();
    const first = await take(ledger, "a1", "n1-g0", "n1-g1");
    const again = await take(ledger, "a1", "n1-g1", "n1-g0");
    expect(again).toEqual(first);
    expect(await take(ledger, "a1", "n1-g2")).toMatchObject({ reason: "exists" });
    const elsewhere = await ledger.take([asking("a1", claimOf("n2"))]);
    expect(elsewhere).toMatchObject({ reason: "exists" });
    const other = { purpose: { ...purposeOf("a1"), operationId: "op" } };
    const claim = claimOf("n1", ["n1-g0", "n1-g1"]);
    expect(await ledger.take([asking("a1", claim, other)])).toMatchObject({ reason: "exists" });
    expect(ledger.size).toBe(1);
  });

  it("gives a GPU to one of those who ask in the same moment, and fractions as far as they fit", async () => {
    const { ledger } = await openTest();
    const whole = ["a1", "a2", "a3"].map((id) => take(ledger, id, "n1-g0"));
    const kinds = (await Promise.all(whole)).map(({ kind }) => kind);
    expect(kinds).toEqual(["taken", "refused", "refused"]);
    const share = claimOf("n1", [{ uuid: "n1-g1", memoryMiB: 30 }]);
    const shares = ["b1", "b2", "b3"].map((id) => ledger.take([asking(id, share)]));
    const reasons = (await Promise.all(shares)).map((each) =>
      each.kind === "refused" ? each.reason : each.kind,
    );
    expect(reasons).toEqual(["taken", "taken", "not_enough"]);
  });

  it("refuses an unknown node, and claims of a caller who changes them do not change", async () => {
    const { ledger } = await openTest();
    expect(await ledger.take([asking("a1", claimOf("n9"))])).toMatchObject({
      reason: "unknown_node",
    });
    const devices = [{ uuid: "n1-g0" }];
    const taking = ledger.take([asking("a1", { ...claimOf("n1"), devices })]);
    devices[0] = { uuid: "n1-g1" };
    await taking;
    expect(ledger.hold("a1")?.claim.devices).toEqual([{ uuid: "n1-g0" }]);
  });

  it("keeps a GPU held whose MIG parts were held when MIG was turned off, over restarts too", async () => {
    const { ledger, open, nodes } = await openTest();
    await take(ledger, "a1", "n1-m0");
    const [whole] = nodeCapacity("n1").gpus;
    if (whole === undefined) throw new Error("no GPU");
    nodes.set("n1", nodeCapacity("n1", { gpus: [{ ...whole, uuid: "n1-g3", slot: 3 }] }));
    const again = await open();
    await again.reconcile([]);
    expect(await take(again, "a2", "n1-g3")).toMatchObject({ reason: "taken" });
    await again.free("a1");
    expect(await take(again, "a2", "n1-g3")).toMatchObject({ kind: "taken" });
  });
});

describe("Ledger.free", () => {
  it("frees durably, any number of times, and leaves no document behind", async () => {
    const { ledger, open } = await openTest();
    await take(ledger, "a1", "n1-g0");
    expect(await storedNodes()).toEqual(["n1"]);
    expect(await ledger.free("a1")).toMatchObject({ kind: "freed", hold: { id: "a1" } });
    expect(await ledger.free("a1")).toEqual({ kind: "freed" });
    expect(await storedNodes()).toEqual([]);
    expect((await open()).size).toBe(0);
  });

  it("shows nothing as free before that is on disk", async () => {
    const { ledger, store } = await openTest();
    await take(ledger, "a1", "n1-g0");
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    const freeing = ledger.free("a1");
    const taking = take(ledger, "a2", "n1-g1");
    expect([stateOf(ledger, "n1-g0"), stateOf(ledger, "n1-g1")]).toEqual(["allocated", "free"]);
    expect(ids(ledger.holds())).toEqual(["a1"]);
    gate.resolve();
    await Promise.all([freeing, taking]);
    expect([stateOf(ledger, "n1-g0"), stateOf(ledger, "n1-g1")]).toEqual(["free", "allocated"]);
  });

  it("lets an id be used on another node only when it has left the first one", async () => {
    const { ledger } = await openTest();
    await take(ledger, "a1", "n1-g0");
    const [freed, taken] = await Promise.all([
      ledger.free("a1"),
      ledger.take([asking("a1", claimOf("n2", ["n2-g0"]))]),
    ]);
    expect([freed.kind, taken.kind]).toEqual(["freed", "taken"]);
    expect(await storedNodes()).toEqual(["n2"]);
  });

  it("does not free a lease", async () => {
    const { ledger } = await openTest();
    await ledger.lease(leasing("l1", claimOf("n1")));
    expect(await ledger.free("l1")).toMatchObject({ reason: "invalid" });
    expect(ledger.hold("l1")).toBeDefined();
  });

  it("keeps what is quarantined held, until it is confirmed or freed", async () => {
    const { ledger } = await openTest();
    await take(ledger, "a1", "n1-g0");
    await ledger.quarantine("a1", "node n1 is lost");
    expect(ledger.hold("a1")).toMatchObject({ state: "quarantined", note: "node n1 is lost" });
    expect(await take(ledger, "a2", "n1-g0")).toMatchObject({ reason: "taken" });
    await ledger.confirm("a1");
    expect(ledger.hold("a1")).toMatchObject({ state: "committed" });
    expect(ledger.hold("a1")).not.toHaveProperty("note");
    expect(await ledger.confirm("a9")).toMatchObject({ reason: "invalid" });
  });
});

describe("Ledger leases", () => {
  it("hold what they claim until their end, and then no more, swept or not", async () => {
    const { ledger, bootClock } = await openTest();
    const leased = await ledger.lease(leasing("l1", claimOf("n1", ["n1-g0"])));
    expect(leased).toMatchObject({ kind: "leased", ttlLeftMs: 5_000, lease: { id: "l1" } });
    expect(stateOf(ledger, "n1-g0")).toBe("leased");
    expect(await take(ledger, "a1", "n1-g0")).toMatchObject({ reason: "taken" });
    bootClock.advance(5_000);
    expect(await take(ledger, "a1", "n1-g0")).toMatchObject({ kind: "taken" });
    expect(ids(await ledger.sweep())).toEqual(["l1"]);
    expect(ids(ledger.holds())).toEqual(["a1"]);
    expect(await ledger.renew({ leaseId: "l1", ttlMs: 5_000 })).toMatchObject({
      reason: "unknown_lease",
    });
  });

  it("are swept when they have ended, which others see as a change", async () => {
    const { ledger, bootClock } = await openTest();
    await ledger.lease(leasing("l1", claimOf("n1", ["n1-g0"])));
    bootClock.advance(5_000);
    expect(ledger.leases()).toMatchObject([{ ttlLeftMs: 0, void: expect.any(String) }]);
    const { revision } = ledger.status;
    expect(ids(await ledger.sweep())).toEqual(["l1"]);
    expect(await ledger.sweep()).toEqual([]);
    expect(ledger.status.revision).toBeGreaterThan(revision);
    expect(stateOf(ledger, "n1-g0")).toBe("free");
    expect(await storedNodes()).toEqual([]);
  });

  it("become allocations of no more than they hold, in one step", async () => {
    const { ledger } = await openTest();
    const claim = claimOf("n1", ["n1-g0"]);
    await ledger.lease(leasing("l1", claim, { storeId: "" }));
    const lease = { leaseId: "l1", subject: "s", storeId: "" };
    const more = asking("a1", { ...claim, cpuMillis: 101 }, { lease });
    expect(await ledger.take([more])).toMatchObject({ reason: "invalid" });
    const others = asking("a1", claimOf("n1", ["n1-g1"]), { lease });
    expect(await ledger.take([others])).toMatchObject({ reason: "invalid" });
    const foreign = asking("a1", claim, { lease: { ...lease, subject: "t" } });
    expect(await ledger.take([foreign])).toMatchObject({ reason: "fenced" });
    expect(ids(ledger.holds())).toEqual(["l1"]);
    const right = asking("a1", { ...claim, cpuMillis: 50 }, { lease });
    expect(await ledger.take([right])).toMatchObject({ kind: "taken" });
    expect(ids(ledger.holds())).toEqual(["a1"]);
    expect(await ledger.take([right])).toMatchObject({ kind: "taken" });
    const second = asking("a2", claim, { lease });
    expect(await ledger.take([second])).toMatchObject({ reason: "unknown_lease" });
  });

  it("may give their id to the allocation", async () => {
    const { ledger } = await openTest();
    const claim = claimOf("n1", ["n1-g0"]);
    await ledger.lease(leasing("x", claim));
    const asked = asking("x", claim, { lease: { leaseId: "x" } });
    expect(await ledger.take([asked])).toMatchObject({ kind: "taken" });
    expect(await ledger.take([asked])).toMatchObject({ kind: "taken" });
    expect(await ledger.release({ leaseId: "x" })).toEqual({ kind: "released" });
    expect(ledger.hold("x")).toMatchObject({ kind: "allocation" });
  });

  it("are the same when asked for twice, and not renewed by that", async () => {
    const { ledger, bootClock } = await openTest();
    const asked = leasing("l1", claimOf("n1", ["n1-g0"]));
    const first = await ledger.lease(asked);
    bootClock.advance(1_000);
    expect(await ledger.lease(asked)).toEqual({ ...first, ttlLeftMs: 4_000 });
    expect(await ledger.lease({ ...asked, subject: "t" })).toMatchObject({ reason: "exists" });
    const { leaseId: _none, ...anonymous } = leasing("", claimOf("n1"));
    const minted = await ledger.lease(anonymous);
    expect(minted).toMatchObject({
      kind: "leased",
      lease: { id: expect.stringMatching(/^.{36}$/) },
    });
  });

  it("are renewed and released by their subject only", async () => {
    const { ledger, bootClock } = await openTest();
    await ledger.lease(leasing("l1", claimOf("n1", ["n1-g0"])));
    bootClock.advance(4_000);
    const foreign = { leaseId: "l1", subject: "t", ttlMs: 5_000 };
    expect(await ledger.renew(foreign)).toMatchObject({ reason: "fenced" });
    expect(await ledger.release(foreign)).toMatchObject({ reason: "fenced" });
    const renewed = await ledger.renew({ ...foreign, subject: "s" });
    expect(renewed).toMatchObject({ kind: "leased", ttlLeftMs: 5_000, lease: { renewals: 1 } });
    for (let n = 0; n < 2; n += 1) {
      expect(await ledger.release({ leaseId: "l1", subject: "s" })).toEqual({ kind: "released" });
    }
    expect(ledger.size).toBe(0);
  });

  it("are bounded per subject and in all, not counting those that have ended", async () => {
    const rules = {
      minTtlMs: 1_000,
      maxTtlMs: 9_000,
      maxRenewals: 1,
      maxLeasesPerSubject: 2,
      maxLeases: 3,
    };
    const { ledger, bootClock } = await openTest({ rules });
    const claim = claimOf("n1");
    const asked = ["l1", "l2", "l3"].map((id) => ledger.lease(leasing(id, claim)));
    expect((await Promise.all(asked)).map(({ kind }) => kind)).toEqual([
      "leased",
      "leased",
      "refused",
    ]);
    const other = { subject: "t" };
    expect(await ledger.lease(leasing("l4", claim, other))).toMatchObject({ kind: "leased" });
    expect(await ledger.lease(leasing("l5", claim, other))).toMatchObject({ reason: "over_cap" });
    bootClock.advance(5_000);
    expect(await ledger.lease(leasing("l5", claim, other))).toMatchObject({ kind: "leased" });
  });

  it("are void for another store than the one that is obeyed, and in another boot", async () => {
    let obeyed: string | undefined = "one";
    const { ledger, open, bootClock } = await openTest({ obeyedStoreId: () => obeyed });
    const claim = claimOf("n1", ["n1-g0"]);
    const strange = await ledger.lease(leasing("l0", claim, { storeId: "other" }));
    expect(strange).toMatchObject({ reason: "fenced" });
    await ledger.lease(leasing("l1", claim, { storeId: "one" }));
    obeyed = "two";
    const late = asking("a1", claim, { lease: { leaseId: "l1" } });
    expect(await ledger.take([late])).toMatchObject({ reason: "fenced" });
    expect(await ledger.lease(leasing("l2", claim, { storeId: "two" }))).toMatchObject({
      kind: "leased",
    });
    bootClock.reboot("boot-2");
    const again = await open();
    await again.reconcile([]);
    expect(await take(again, "a1", "n1-g0")).toMatchObject({ kind: "taken" });
  });
});
