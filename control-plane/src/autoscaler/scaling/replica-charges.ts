import { BerthError } from "@berth/service-kit";
import { surplusGpus } from "../../org/charges/block-row.ts";
import {
  blockCharge,
  type Charge,
  type ChargeRefusal,
  replicasCharge,
  times,
} from "../../org/charges/charge.ts";
import { obstacleDocument } from "../../org/charges/preview.ts";
import type { OrgBooks } from "../../org/org-books.ts";
import { profileOf } from "../../org/profiles/quota-owners.ts";
import type { GpuAmounts } from "../../org/quotas/gpu-amounts.ts";
import type { Quota } from "../../org/quotas/quota.ts";
import { MAX_REPLICAS } from "../../org/quotas/replica-count.ts";
import type { Plan } from "../../org/store/org-transactions.ts";
import type { ScaleBook } from "./scale-book.ts";
import type { ScaleRequest } from "./scale-request.ts";

/** What {@link ReplicaCharges} are written with. */
export interface ReplicaChargesDeps {
  readonly books: OrgBooks;
  readonly scale: ScaleBook;
}

/** What requests to scale charge to their quotas: for the most replicas that there may come to be, until they are confirmed. */
export class ReplicaCharges {
  readonly #deps: ReplicaChargesDeps;

  constructor(deps: ReplicaChargesDeps) {
    this.#deps = deps;
  }

  /** Charges what there may come to be beside `chargedBefore` replicas; QUOTA_EXCEEDED when it does not fit. */
  charge(plan: Plan, request: ScaleRequest, chargedBefore: number): ScaleRequest {
    const charged = Math.max(chargedBefore, request.replicas);
    const refusal = this.#put(plan, request, charged);
    if (refusal === undefined) return { ...request, chargedBefore };
    const details = { obstacle: obstacleDocument(refusal.obstacle) };
    throw new BerthError("QUOTA_EXCEEDED", refusal.message, { details });
  }

  /**
   * The quota has the replicas that were confirmed, and is charged for them. What was never sent has changed nothing; of an
   * unknown number what was charged stays.
   */
  settle(plan: Plan, request: ScaleRequest, replicas: number | undefined): void {
    const { books, scale } = this.#deps;
    const { quotaId, isUntouched, chargedBefore } = request;
    // Nothing is charged of a quota that was removed in the meantime.
    if (!books.quotas.tree.has(quotaId)) return;
    if (isUntouched) {
      this.#put(plan, request, chargedBefore ?? scale.quota(quotaId).charged, true);
      return;
    }
    if (replicas === undefined) return;
    const { minReplicas = 0, maxReplicas = MAX_REPLICAS } = books.quotas.planned(quotaId).quota;
    const desired = Math.min(Math.max(replicas, minReplicas), maxReplicas);
    books.quotas.planChange(plan, quotaId, { replica_count: desired });
    this.#put(plan, request, replicas, true);
    scale.putQuota(plan, quotaId, { ...scale.quota(quotaId), confirmed: replicas });
  }

  /** Has a quota charged for so many replicas; `isKnown`: they are there, whatever the rules say. */
  #put(
    plan: Plan,
    { quotaId, uuid, createdAt, replicas: asked }: ScaleRequest,
    charged: number,
    isKnown = false,
  ): ChargeRefusal | undefined {
    const { books, scale } = this.#deps;
    const { quota } = books.quotas.planned(quotaId);
    const chargeId = replicasCharge(quotaId);
    const before = books.charges.planned(chargeId)?.gpus ?? {};
    const { gpusPerReplica } = profileOf(quota);
    // Replicas that are there keep their price when that of new ones has changed.
    const gpus = isKnown
      ? times(gpusPerReplica, charged)
      : greater(before, times(gpusPerReplica, asked));
    const isRise = Object.entries(gpus).some(([flavor, milli]) => milli > (before[flavor] ?? 0));
    const about = { chargeId, quotaId, operationId: uuid, createdAt, gpus };
    const charge: Charge = { ...about, kind: "replicas" };
    this.#giveWay(plan, quota, charged);
    if (Object.keys(gpus).length === 0) books.charges.planRemoval(plan, chargeId);
    else if (isKnown || !isRise) books.charges.planAdoption(plan, charge);
    else {
      const put = books.charges.plan(plan, charge);
      if (put.kind === "refused") return put;
    }
    scale.putQuota(plan, quotaId, { ...scale.quota(quotaId), charged });
    return undefined;
  }

  /** The charge of the quota's block is for what it has beside so many replicas. */
  #giveWay(plan: Plan, quota: Quota, charged: number): void {
    const { charges } = this.#deps.books;
    const before = charges.planned(blockCharge(quota.quotaId));
    if (before === undefined) return;
    charges.planAdoption(plan, { ...before, gpus: surplusGpus({ quota }, before, charged) });
  }
}

/** The greater amount of each flavor. */
function greater(one: GpuAmounts, other: GpuAmounts): GpuAmounts {
  const flavors = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Object.fromEntries(
    [...flavors].map((flavor) => [flavor, Math.max(one[flavor] ?? 0, other[flavor] ?? 0)]),
  );
}
