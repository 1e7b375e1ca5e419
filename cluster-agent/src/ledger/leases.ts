import type { Claim, LeaseHold, LedgerRefusal } from "./claim.ts";
import { refused } from "./claim-shape.ts";

/** Bounds of leases. */
export interface LeaseRules {
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
  /** Times that one lease may be renewed. */
  readonly maxRenewals: number;
  readonly maxLeasesPerSubject: number;
  /** Of all subjects. */
  readonly maxLeases: number;
}

/** Bounds that hold unless others are given. */
export const LEASE_RULES: LeaseRules = {
  minTtlMs: 1_000,
  maxTtlMs: 600_000,
  maxRenewals: 10,
  maxLeasesPerSubject: 256,
  maxLeases: 10_000,
};

/** More than a lease's time that may seem left of it by rounding. */
const CLOCK_SLACK_MS = 1_000;

/** What a lease is held against. */
export interface LeaseNow {
  readonly bootId: string;
  /** Boot clock, ms. */
  readonly bootMs: number;
  /** Generation of the ledger. */
  readonly generation: number;
  /** Store whose orders count now; undefined while that is not known, and then no lease is void by it. */
  readonly obeyedStoreId: string | undefined;
}

/** Why a lease counts no more; undefined while it counts. */
export function leaseVoid(lease: LeaseHold, now: LeaseNow): LedgerRefusal | undefined {
  const is = (reason: "expired" | "fenced", why: string) =>
    refused(reason, `lease ${lease.id} ${why}`);
  if (lease.bootId !== now.bootId) return is("expired", "ended when the machine was started anew");
  if (lease.generation !== now.generation) {
    const were = `generation ${lease.generation} of the ledger, which is at ${now.generation}`;
    return is("fenced", `was given out in ${were} since it was rebuilt`);
  }
  const { obeyedStoreId } = now;
  if (lease.storeId !== "" && obeyedStoreId !== undefined && lease.storeId !== obeyedStoreId) {
    return is("fenced", `was given out for store ${lease.storeId}, now ${obeyedStoreId} is obeyed`);
  }
  // A container may be started anew, with an uptime of its own, in one boot.
  if (lease.endsAtBootMs - now.bootMs > lease.ttlMs + CLOCK_SLACK_MS) {
    return is("expired", "ended when the clock was set back");
  }
  if (lease.endsAtBootMs <= now.bootMs) {
    return is("expired", `ended ${Math.floor(now.bootMs - lease.endsAtBootMs)} ms ago`);
  }
  return undefined;
}

/** Time that is left, ms, a whole number; 0 for a lease that is void. */
export function ttlLeftMs(lease: LeaseHold, now: LeaseNow): number {
  if (leaseVoid(lease, now) !== undefined) return 0;
  return Math.max(0, Math.floor(lease.endsAtBootMs - now.bootMs));
}

/** Why a time is none that a lease may have; undefined when it is one. */
export function ttlProblem(ttlMs: number, { minTtlMs, maxTtlMs }: LeaseRules): string | undefined {
  if (Number.isSafeInteger(ttlMs) && ttlMs >= minTtlMs && ttlMs <= maxTtlMs) return undefined;
  return `ttl_ms: expected a whole number from ${minTtlMs} to ${maxTtlMs}, got ${ttlMs}`;
}

/** A lease that begins now. */
export function newLease(
  asked: {
    readonly id: string;
    readonly claim: Claim;
    readonly subject: string;
    readonly ttlMs: number;
    readonly storeId: string;
    readonly takenAt: string;
  },
  { bootId, bootMs, generation }: LeaseNow,
): LeaseHold {
  const endsAtBootMs = Math.ceil(bootMs) + asked.ttlMs;
  return { kind: "lease", ...asked, renewals: 0, endsAtBootMs, bootId, generation };
}

/** Whether a lease may be used by whoever names this subject and store; undefined names match any. */
export function ownerProblem(
  lease: LeaseHold,
  by: { readonly subject?: string | undefined; readonly storeId?: string | undefined },
): LedgerRefusal | undefined {
  if (by.subject !== undefined && by.subject !== lease.subject) {
    return refused("fenced", `lease ${lease.id} is not held by ${by.subject}`);
  }
  if (by.storeId !== undefined && by.storeId !== lease.storeId) {
    return refused("fenced", `lease ${lease.id} was not given out for store ${by.storeId}`);
  }
  return undefined;
}

/** The lease with a new end, `ttlMs` from now; refused when it is void or has been renewed too often. */
export function renewedLease(
  lease: LeaseHold,
  ttlMs: number,
  { now, rules }: { readonly now: LeaseNow; readonly rules: LeaseRules },
): LeaseHold | LedgerRefusal {
  const problem = ttlProblem(ttlMs, rules);
  if (problem !== undefined) return refused("invalid", problem);
  const ended = leaseVoid(lease, now);
  if (ended !== undefined) return ended;
  if (lease.renewals >= rules.maxRenewals) {
    return refused("over_cap", `lease ${lease.id} was renewed ${lease.renewals} times, no more`);
  }
  const endsAtBootMs = Math.ceil(now.bootMs) + ttlMs;
  return { ...lease, ttlMs, renewals: lease.renewals + 1, endsAtBootMs };
}
