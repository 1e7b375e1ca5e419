import type { Logger } from "@berth/service-kit";
import type { GpuAmounts } from "../quotas/gpu-amounts.ts";
import type { QuotaBook } from "../quotas/quota-book.ts";
import type { QuotaObstacle } from "../quotas/quota-tree.ts";
import type { KeptDocuments } from "../store/kept-documents.ts";
import type { Plan } from "../store/org-transactions.ts";
import { type Charge, type ChargeRefusal, chargeRefusal } from "./charge.ts";

/** What a {@link ChargeBook} is kept with. */
export interface ChargeBookDeps {
  readonly documents: KeptDocuments<Charge>;
  readonly quotas: Pick<QuotaBook, "tree">;
  readonly logger: Logger;
}

/**
 * What is used of an org's quotas: one durable row for each thing that uses something, counted in the tree of the quotas with
 * the rows that are on their way.
 */
export class ChargeBook {
  readonly #deps: ChargeBookDeps;

  constructor(deps: ChargeBookDeps) {
    this.#deps = deps;
  }

  /** Takes what the store has; comes behind the quotas. What is used is counted whatever the rules say. */
  async reload(): Promise<void> {
    const { documents } = this.#deps;
    try {
      await documents.reload();
    } finally {
      for (const [, { body }] of documents.allPlanned()) this.#adopt(body);
    }
  }

  /** One charge as the store has it. */
  get(chargeId: string): Charge | undefined {
    return this.#deps.documents.get(chargeId)?.body;
  }

  /** All as the store has them, in the order of their ids. */
  all(): readonly Charge[] {
    return this.#deps.documents.all().map(([, { body }]) => body);
  }

  /** As it will be when everything is written. */
  planned(chargeId: string): Charge | undefined {
    return this.#deps.documents.planned(chargeId)?.body;
  }

  /** Those of a quota itself, as they will be when everything is written. */
  plannedOf(quotaId: string): readonly Charge[] {
    return this.#deps.documents.plannedOfGroup(quotaId).map(({ body }) => body);
  }

  /**
   * Charges a quota, in place of the charge of that id, where it fits; the refusal otherwise, and nothing has changed then.
   * NOT_FOUND without the quota.
   */
  plan(plan: Plan, charge: Charge): Charge | ChargeRefusal {
    const before = this.planned(charge.chargeId);
    if (before !== undefined) this.#count(before, -1);
    const obstacle = this.#obstacle(charge);
    if (before !== undefined) this.#count(before, 1);
    if (obstacle !== undefined) return chargeRefusal(obstacle);
    this.planAdoption(plan, charge);
    return charge;
  }

  /** {@link plan} of what is used already: it is counted whatever the rules say. */
  planAdoption(plan: Plan, charge: Charge): void {
    const before = this.planned(charge.chargeId);
    const exchange = (sign: 1 | -1) => {
      if (before !== undefined) this.#count(before, sign > 0 ? -1 : 1);
      this.#count(charge, sign);
    };
    exchange(1);
    this.#deps.documents.put(plan, charge.chargeId, charge);
    plan.add({ undo: () => exchange(-1) });
  }

  /** Charges nothing under an id any more; nothing happens when nothing is. */
  planRemoval(plan: Plan, chargeId: string): void {
    const before = this.planned(chargeId);
    if (before === undefined) return;
    this.#count(before, -1);
    this.#deps.documents.remove(plan, chargeId);
    plan.add({ undo: () => this.#count(before, 1) });
  }

  /** What a quota and all below it use, as the store has it: beside the quotas of the same moment it is within their bounds. */
  usedBy(quotaId: string): GpuAmounts {
    const used: Record<string, number> = {};
    this.#addUsed(quotaId, used);
    return used;
  }

  #addUsed(quotaId: string, used: Record<string, number>): void {
    const { documents, quotas } = this.#deps;
    for (const { body } of documents.ofGroup(quotaId)) {
      for (const [flavor, milli] of Object.entries(body.gpus)) {
        if (milli > 0) used[flavor] = (used[flavor] ?? 0) + milli;
      }
    }
    for (const child of quotas.tree.childrenOf(quotaId)) this.#addUsed(child, used);
  }

  /** The tightest of all flavors. */
  #obstacle({ quotaId, gpus }: Charge): QuotaObstacle | undefined {
    const { tree } = this.#deps.quotas;
    const obstacles = Object.entries(gpus).flatMap(
      ([flavor, milli]) => tree.obstacle(quotaId, flavor, milli) ?? [],
    );
    return obstacles.toSorted((one, other) => one.fitsMilli - other.fitsMilli)[0];
  }

  #count({ quotaId, gpus }: Charge, sign: 1 | -1): void {
    const { tree } = this.#deps.quotas;
    for (const [flavor, milli] of Object.entries(gpus)) {
      if (sign > 0) tree.adopt(quotaId, flavor, milli);
      else tree.release(quotaId, flavor, milli);
    }
  }

  #adopt(charge: Charge): void {
    if (this.#deps.quotas.tree.has(charge.quotaId)) this.#count(charge, 1);
    else this.#deps.logger.warn("a charge of a quota that is gone is not counted", { ...charge });
  }
}
