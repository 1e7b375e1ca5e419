import { type BerthError, isBerthError } from "@berth/service-kit";
import type { OrgBooks } from "../org-books.ts";
import { profileOf } from "../profiles/quota-owners.ts";
import { type GpuAmounts, showGpuAmounts } from "../quotas/gpu-amounts.ts";
import type { KeptQuota } from "../quotas/quota.ts";
import type { QuotaObstacle, QuotaTree } from "../quotas/quota-tree.ts";
import { blockCharge, type ChargeRefusal, replicasCharge, times } from "./charge.ts";

/** What a change of a quota would come to. */
export type QuotaPreview =
  | {
      readonly kind: "fits" | "over";
      /** The quota as it would be. */
      readonly kept: KeptQuota;
      /** What its replicas would use. */
      readonly gpus: GpuAmounts;
      /** Replicas that would fit at most; undefined when nothing bounds them. */
      readonly fitsReplicas: number | undefined;
      /** Why they do not fit; present when they are over. */
      readonly refusal?: ChargeRefusal;
    }
  /** The change itself breaks a rule. */
  | { readonly kind: "refused"; readonly error: BerthError };

/**
 * Says whether a quota could be changed as the body says, and whether its replicas would then fit. NOT_FOUND and
 * INVALID_ARGUMENT are thrown; nothing is written.
 */
export async function previewQuota(
  { quotas, charges, transactions }: OrgBooks,
  quotaId: string,
  body: Readonly<Record<string, unknown>>,
): Promise<QuotaPreview> {
  try {
    return await transactions.preview((plan) => {
      const kept = quotas.planChange(plan, quotaId, body);
      const { quota } = kept;
      const { gpusPerReplica } = profileOf(quota);
      const chargeId = replicasCharge(quotaId);
      charges.planRemoval(plan, chargeId);
      charges.planRemoval(plan, blockCharge(quotaId));
      const fitsReplicas = replicasThatFit(quotas.tree, quotaId, gpusPerReplica);
      const gpus = times(gpusPerReplica, quota.replicas);
      const about = { chargeId, quotaId, operationId: "preview", createdAt: "" };
      const charged = charges.plan(plan, { ...about, kind: "replicas", gpus });
      const common = { kept, gpus, fitsReplicas };
      return charged.kind === "refused"
        ? { kind: "over", ...common, refusal: charged }
        : { kind: "fits", ...common };
    });
  } catch (thrown) {
    if (isBerthError(thrown) && thrown.reason === "PRECONDITION_FAILED") {
      return { kind: "refused", error: thrown };
    }
    throw thrown;
  }
}

/** A preview as clients read it. */
export function previewDocument(
  preview: QuotaPreview,
  quotaOf: (kept: KeptQuota) => Record<string, unknown>,
): Record<string, unknown> {
  if (preview.kind === "refused") {
    const { message, reason } = preview.error;
    return { allowed: false, reason, message };
  }
  const { kept, gpus, fitsReplicas, refusal } = preview;
  return {
    allowed: refusal === undefined,
    ...(refusal === undefined ? {} : { reason: "QUOTA_EXCEEDED", message: refusal.message }),
    quota: quotaOf(kept),
    charge: showGpuAmounts(gpus),
    fits_replicas: fitsReplicas ?? null,
    ...(refusal === undefined ? {} : { obstacle: obstacleDocument(refusal.obstacle) }),
  };
}

/** What stands in the way of a charge, as clients read it; in GPUs. */
export function obstacleDocument(obstacle: QuotaObstacle): Record<string, unknown> {
  const gpus = (milli: number) => milli / 1_000;
  return {
    ...{ quota_id: obstacle.quotaId, flavor: obstacle.flavor, bound: obstacle.bound },
    ...{ bound_gpus: gpus(obstacle.boundMilli), used_gpus: gpus(obstacle.usedMilli) },
    ...{ asked_gpus: gpus(obstacle.askedMilli), fits_gpus: gpus(obstacle.fitsMilli) },
  };
}

/** Replicas of a quota that could be charged now, beside all else that is used. */
function replicasThatFit(
  tree: QuotaTree,
  quotaId: string,
  gpusPerReplica: GpuAmounts,
): number | undefined {
  const counts = Object.entries(gpusPerReplica).flatMap(([flavor, milli]) => {
    if (milli === 0) return [];
    const obstacle = tree.obstacle(quotaId, flavor, Number.MAX_SAFE_INTEGER);
    return obstacle === undefined ? [] : [Math.floor(obstacle.fitsMilli / milli)];
  });
  return counts.length === 0 ? undefined : Math.min(...counts);
}
