import { type GpuAmounts, lesser, sumOf, without } from "../quotas/gpu-amounts.ts";
import type { Plan } from "../store/org-transactions.ts";
import { leaseCharge } from "./charge.ts";
import type { ChargeBook } from "./charge-book.ts";

/** What the charge of a lease gave way with to instances that are to take the lease over. */
export interface LeaseRoom {
  readonly chargeId: string;
  readonly gpus: GpuAmounts;
}

/**
 * Has the charges of a quota's leases give way to instances that are to take them over, with as much as these need: together they are charged
 * what leases or instances need, whichever is more, until their cluster has answered. Gives what each gave.
 */
export function giveWay(
  plan: Plan,
  charges: ChargeBook,
  asked: {
    readonly quotaId: string;
    readonly leaseIds: readonly string[];
    readonly needed: GpuAmounts;
  },
): readonly LeaseRoom[] {
  let { needed } = asked;
  const rooms: LeaseRoom[] = [];
  for (const leaseId of new Set(asked.leaseIds)) {
    const lease = charges.planned(leaseCharge(leaseId));
    if (lease?.quotaId !== asked.quotaId) continue;
    const gpus = lesser(lease.gpus, needed);
    needed = without(needed, gpus);
    const given = sumOf(lease.given ?? {}, gpus);
    charges.planAdoption(plan, { ...lease, gpus: without(lease.gpus, gpus), given });
    rooms.push({ chargeId: lease.chargeId, gpus });
  }
  return rooms;
}

/** What leases gave is theirs again, as far as `free` has room for it; those that are gone stay so. */
export function takeBack(
  plan: Plan,
  charges: ChargeBook,
  { rooms, free }: { readonly rooms: readonly LeaseRoom[]; readonly free: GpuAmounts },
): void {
  let room = free;
  for (const { chargeId, gpus } of rooms) {
    const lease = charges.planned(chargeId);
    if (lease === undefined) continue;
    const { given = {}, ...rest } = lease;
    const back = lesser(lesser(gpus, given), room);
    room = without(room, back);
    const left = without(given, back);
    const isWhole = Object.keys(left).length === 0;
    const more = isWhole ? {} : { given: left };
    charges.planAdoption(plan, { ...rest, gpus: sumOf(lease.gpus, back), ...more });
  }
}
