import { profileOf } from "../profiles/quota-owners.ts";
import { type GpuAmounts, lesser } from "../quotas/gpu-amounts.ts";
import type { KeptQuota } from "../quotas/quota.ts";
import type { Plan } from "../store/org-transactions.ts";
import { blockCharge, type Charge, type ChargeRefusal, replicasCharge, times } from "./charge.ts";
import type { ChargeBook } from "./charge-book.ts";

/** What a quota's block is charged for. */
export interface BlockInstances extends Pick<Charge, "operationId" | "createdAt"> {
  readonly kept: Pick<KeptQuota, "quota">;
  /** That there are, or that a placement makes. */
  readonly instances: number;
  /** That are being added beside those. */
  readonly adding: number;
  /** They are there: they are counted whatever the rules say. */
  readonly isKnown?: boolean;
  /** They cost no more than this, whatever their price; absent: their price. */
  readonly most?: GpuAmounts;
}

/**
 * GPUs of a block's instances beyond those that `charged` replicas are charged for. What is being added is not among the replicas: a request to
 * scale may be adding its own at the same time.
 */
export function surplusGpus(
  { quota }: Pick<KeptQuota, "quota">,
  { instances = 0, adding = 0 }: Pick<Charge, "instances" | "adding">,
  charged: number,
): GpuAmounts {
  const beyond = Math.max(0, instances - charged);
  return times(profileOf(quota).gpusPerReplica, adding + beyond);
}

/** What a quota is charged for the instances of its block, beside what requests to scale have charged for its replicas. */
export function blockGpus(
  charges: ChargeBook,
  { kept, ...counts }: Pick<BlockInstances, "kept" | "instances" | "adding">,
): GpuAmounts {
  return surplusGpus(kept, counts, chargedReplicas(charges, kept));
}

/** Has a quota charged for the instances of its block; the refusal when they do not fit. */
export function putInstances(
  plan: Plan,
  charges: ChargeBook,
  { kept, instances, adding, isKnown = false, most, ...about }: BlockInstances,
): ChargeRefusal | undefined {
  const { quotaId } = kept.quota;
  const chargeId = blockCharge(quotaId);
  if (instances + adding === 0) {
    charges.planRemoval(plan, chargeId);
    return undefined;
  }
  const cost = blockGpus(charges, { kept, instances, adding });
  const gpus = most === undefined ? cost : lesser(cost, most);
  const counts = adding === 0 ? { instances } : { instances, adding };
  const charge: Charge = { chargeId, quotaId, kind: "block", gpus, ...counts, ...about };
  if (isKnown) {
    charges.planAdoption(plan, charge);
    return undefined;
  }
  const put = charges.plan(plan, charge);
  return put.kind === "refused" ? put : undefined;
}

/** Replicas that requests to scale have charged for; a row of an older store tells what they cost alone. */
export function chargedReplicas(charges: ChargeBook, { quota }: Pick<KeptQuota, "quota">): number {
  const row = charges.planned(replicasCharge(quota.quotaId));
  if (row?.instances !== undefined) return row.instances;
  const counts = Object.entries(profileOf(quota).gpusPerReplica).flatMap(([flavor, milli]) =>
    milli === 0 ? [] : [(row?.gpus[flavor] ?? 0) / milli],
  );
  return counts.length === 0 ? 0 : Math.floor(Math.min(...counts));
}
