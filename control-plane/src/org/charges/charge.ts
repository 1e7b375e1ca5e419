import { type GpuAmounts, gpusText } from "../quotas/gpu-amounts.ts";
import type { QuotaObstacle } from "../quotas/quota-tree.ts";

/** What something uses of a quota: one row of the store. JSON as stored. */
export interface Charge {
  readonly chargeId: string;
  readonly quotaId: string;
  /** What it is for: replicas that there are, a request that is under way, a lease, or a block. */
  readonly kind: "replicas" | "request" | "lease" | "block";
  /** Thousandths of GPUs by flavor. */
  readonly gpus: GpuAmounts;
  /** Of a lease: where it is. */
  readonly clusterId?: string;
  /** Of a lease: what it gave way with to instances that are to take it over, until their cluster has answered; absent: nothing. */
  readonly given?: GpuAmounts;
  /**
   * Of a block: instances that there are or that a placement makes, those that requests to scale have charged for too. Of replicas: how many
   * these are.
   */
  readonly instances?: number;
  /** Of a block: instances beside those, which are being added; absent: none. */
  readonly adding?: number;
  /** What caused it: a request to scale, a placement, an allocation. */
  readonly operationId: string;
  /** ISO 8601, for people. */
  readonly createdAt: string;
}

/** Why a charge does not fit. */
export interface ChargeRefusal {
  readonly kind: "refused";
  readonly obstacle: QuotaObstacle;
  /** For people: which bound, what is used, and what would fit. */
  readonly message: string;
}

/** The refusal of a charge that an obstacle stands in the way of. */
export function chargeRefusal(obstacle: QuotaObstacle): ChargeRefusal {
  const { quotaId, flavor, bound, boundMilli, usedMilli, askedMilli, fitsMilli } = obstacle;
  const whose = `quota ${JSON.stringify(quotaId)} has a ${bound} of ${gpusText(boundMilli)} of ${flavor}`;
  const fits = fitsMilli === 0 ? "nothing" : gpusText(fitsMilli);
  const message = `${whose}, others use ${gpusText(usedMilli)}, and ${gpusText(askedMilli)} were asked for: ${fits} would fit`;
  return { kind: "refused", obstacle, message };
}

/** An amount of each flavor, so many times. */
export function times(gpus: GpuAmounts, count: number): GpuAmounts {
  return Object.fromEntries(
    Object.entries(gpus).flatMap(([flavor, milli]) =>
      milli * count > 0 ? [[flavor, milli * count] as const] : [],
    ),
  );
}

/** The id of the charge for the replicas of a quota. */
export function replicasCharge(quotaId: string): string {
  return `replicas/${quotaId}`;
}

/** The id of the charge for instances of a quota's block that no request to scale has charged for. */
export function blockCharge(quotaId: string): string {
  return `block/${quotaId}`;
}

/** The id of the charge for a lease of the allocator. */
export function leaseCharge(leaseId: string): string {
  return `lease/${leaseId}`;
}
