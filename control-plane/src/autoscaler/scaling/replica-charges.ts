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
import {
  type GpuAmounts,
  greater,
  isMore,
  lesser,
  sumOf,
  without,
} from "../../org/quotas/gpu-amounts.ts";
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

  /**
   * Charges what there may come to be beside the replicas that are charged already: where an older request was never sent, those before it.
   * QUOTA_EXCEEDED when it does not fit.
   */
  charge(plan: Plan, request: ScaleRequest, unsent?: ScaleRequest): ScaleRequest {
    const { books, scale } = this.#deps;
    const { quotaId } = request;
    const row = books.charges.planned(replicasCharge(quotaId))?.gpus ?? {};
    const { chargedBefore = scale.quota(quotaId).charged, gpusBefore = row } = unsent ?? {};
    const { gpusPerReplica } = profileOf(books.quotas.planned(quotaId).quota);
    // Replicas that are there keep their price when that of new ones has changed.
    const gpus = greater(gpusBefore, times(gpusPerReplica, request.replicas));
    const charged = Math.max(chargedBefore, request.replicas);
    const refusal = this.#put(plan, request, { charged, gpus, isKnown: !isMore(gpus, row) });
    if (refusal === undefined) return { ...request, chargedBefore, gpusBefore };
    const details = { obstacle: obstacleDocument(refusal.obstacle) };
    throw new BerthError("QUOTA_EXCEEDED", refusal.message, { details });
  }

  /**
   * The quota has the replicas that were confirmed, and is charged for them: no more than the request has charged for as many. What was never
   * sent has changed nothing; of an unknown number what was charged stays.
   */
  settle(plan: Plan, request: ScaleRequest, replicas: number | undefined): void {
    const { books, scale } = this.#deps;
    const { quotaId, isUntouched } = request;
    // Nothing is charged of a quota that was removed in the meantime.
    if (!books.quotas.tree.has(quotaId)) return;
    const row = books.charges.planned(replicasCharge(quotaId))?.gpus ?? {};
    const { charged } = scale.quota(quotaId);
    if (isUntouched) {
      const { chargedBefore = charged, gpusBefore = row } = request;
      this.#put(plan, request, { charged: chargedBefore, gpus: gpusBefore, isKnown: true });
      return;
    }
    if (replicas === undefined) return;
    const { quota } = books.quotas.planned(quotaId);
    const { minReplicas = 0, maxReplicas = MAX_REPLICAS } = quota;
    const desired = Math.min(Math.max(replicas, minReplicas), maxReplicas);
    books.quotas.planChange(plan, quotaId, { replica_count: desired });
    const price = times(profileOf(quota).gpusPerReplica, replicas);
    const block = books.charges.planned(blockCharge(quotaId));
    const { instances = 0, adding = 0, gpus: beside = {} } = block ?? {};
    // Instances that were added by hand may be among them, and were charged when they were.
    const most = replicas <= charged ? row : sumOf(row, beside);
    const isPaid = replicas <= Math.max(charged, instances + adding);
    const gpus = isPaid ? lesser(price, most) : price;
    this.#put(plan, request, { charged: replicas, gpus, isKnown: true });
    scale.putQuota(plan, quotaId, { ...scale.quota(quotaId), confirmed: replicas });
  }

  /** Has a quota charged for so many replicas; `isKnown`: they are there, whatever the rules say. */
  #put(
    plan: Plan,
    { quotaId, uuid, createdAt }: ScaleRequest,
    replicas: ChargedReplicas,
  ): ChargeRefusal | undefined {
    const { books, scale } = this.#deps;
    const { charged, gpus, isKnown } = replicas;
    const chargeId = replicasCharge(quotaId);
    this.#giveWay(plan, quotaId, replicas);
    const about = { chargeId, quotaId, operationId: uuid, createdAt, gpus };
    const charge: Charge = { ...about, kind: "replicas", instances: charged };
    if (Object.keys(gpus).length === 0) books.charges.planRemoval(plan, chargeId);
    else if (isKnown) books.charges.planAdoption(plan, charge);
    else {
      const put = books.charges.plan(plan, charge);
      if (put.kind === "refused") return put;
    }
    scale.putQuota(plan, quotaId, { ...scale.quota(quotaId), charged });
    return undefined;
  }

  /**
   * The charge of the quota's block is for what it has beside so many replicas. What is charged for these no more may go over to it, but costs no
   * more there than it did; and replicas that were confirmed beyond those that were charged are instances that are being added by hand.
   */
  #giveWay(plan: Plan, quotaId: string, { charged, gpus, isKnown }: ChargedReplicas): void {
    const { charges, quotas } = this.#deps.books;
    const before = charges.planned(blockCharge(quotaId));
    if (before === undefined) return;
    const row = charges.planned(replicasCharge(quotaId))?.gpus ?? {};
    const all = sumOf(before.gpus, row);
    const most = isKnown ? without(all, gpus) : sumOf(before.gpus, without(row, gpus));
    const surplus = surplusGpus(quotas.planned(quotaId), before, charged);
    charges.planAdoption(plan, { ...before, gpus: lesser(surplus, most) });
  }
}

/** What a quota is charged for its replicas. */
interface ChargedReplicas {
  readonly charged: number;
  readonly gpus: GpuAmounts;
  /** They are there, whatever the rules say. */
  readonly isKnown: boolean;
}
