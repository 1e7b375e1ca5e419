import { describe, expect, it } from "vitest";
import { claimOf } from "../testing/ledger.ts";
import {
  LEASE_RULES,
  type LeaseNow,
  leaseVoid,
  newLease,
  ownerProblem,
  renewedLease,
  ttlLeftMs,
  ttlProblem,
} from "./leases.ts";

const now: LeaseNow = { bootId: "boot", bootMs: 1_000, generation: 3, obeyedStoreId: "store" };
const lease = newLease(
  { id: "l", claim: claimOf("n1"), subject: "s", ttlMs: 5_000, storeId: "store", takenAt: "" },
  now,
);
const at = (change: Partial<LeaseNow>): LeaseNow => ({ ...now, ...change });

describe("a lease", () => {
  it("counts until its end on the boot clock, and not at it", () => {
    expect(leaseVoid(lease, at({ bootMs: 5_999 }))).toBeUndefined();
    expect(ttlLeftMs(lease, at({ bootMs: 5_999 }))).toBe(1);
    expect(leaseVoid(lease, at({ bootMs: 6_000 }))).toMatchObject({ reason: "expired" });
    expect(ttlLeftMs(lease, at({ bootMs: 6_000 }))).toBe(0);
  });

  it.each<[string, Partial<LeaseNow>, string]>([
    ["in another boot", { bootId: "other" }, "expired"],
    ["when more is left than it ever had", { bootMs: -100 }, "expired"],
    ["in another generation", { generation: 4 }, "fenced"],
    ["when another store is obeyed", { obeyedStoreId: "other" }, "fenced"],
  ])("is void %s", (_when, change, reason) => {
    expect(leaseVoid(lease, at(change))).toMatchObject({ kind: "refused", reason });
    expect(ttlLeftMs(lease, at(change))).toBe(0);
  });

  it("is not void by its store when none is known, or when it is of this cluster's own API", () => {
    expect(leaseVoid(lease, at({ obeyedStoreId: undefined }))).toBeUndefined();
    expect(leaseVoid({ ...lease, storeId: "" }, at({ obeyedStoreId: "other" }))).toBeUndefined();
  });

  it("is renewed from now on, as often as the rules allow", () => {
    const rules = { ...LEASE_RULES, maxRenewals: 2 };
    let renewed = lease;
    for (const bootMs of [2_000, 2_500]) {
      const outcome = renewedLease(renewed, 1_000, { now: at({ bootMs }), rules });
      if (outcome.kind === "refused") throw new Error(outcome.message);
      renewed = outcome;
    }
    expect(renewed).toEqual({ ...lease, ttlMs: 1_000, renewals: 2, endsAtBootMs: 3_500 });
    const third = renewedLease(renewed, 1_000, { now: at({ bootMs: 3_000 }), rules });
    expect(third).toMatchObject({ kind: "refused", reason: "over_cap" });
  });

  it("is not renewed when it is void, or for a time that none may have", () => {
    const rules = LEASE_RULES;
    const late = renewedLease(lease, 1_000, { now: at({ bootMs: 6_000 }), rules });
    expect(late).toMatchObject({ reason: "expired" });
    const short = renewedLease(lease, 999, { now, rules });
    expect(short).toMatchObject({ reason: "invalid" });
  });

  it.each([999, 600_001, 1_000.5, Number.NaN, -1])("may not last %d ms", (ttlMs) => {
    expect(ttlProblem(ttlMs, LEASE_RULES)).toContain("ttl_ms: expected a whole number");
  });

  it("may last from a second to ten minutes", () => {
    expect(ttlProblem(1_000, LEASE_RULES)).toBeUndefined();
    expect(ttlProblem(600_000, LEASE_RULES)).toBeUndefined();
  });

  it("belongs to its subject and its store", () => {
    expect(ownerProblem(lease, {})).toBeUndefined();
    expect(ownerProblem(lease, { subject: "s", storeId: "store" })).toBeUndefined();
    expect(ownerProblem(lease, { subject: "t" })).toMatchObject({ reason: "fenced" });
    expect(ownerProblem(lease, { storeId: "" })).toMatchObject({ reason: "fenced" });
  });
});
