import { isDeepStrictEqual } from "node:util";
import { BerthError } from "@berth/service-kit";
import type { OrgBooks } from "../org-books.ts";
import { PLAIN_PROFILE } from "../profiles/allocation-profile.ts";
import { profileOf } from "../profiles/quota-owners.ts";
import { isMore } from "../quotas/gpu-amounts.ts";
import type { Quota } from "../quotas/quota.ts";
import type { QuotaChange } from "../quotas/quota-book.ts";
import type { Plan } from "../store/org-transactions.ts";
import { blockGpus, putInstances } from "./block-row.ts";
import { blockCharge, type Charge } from "./charge.ts";
import { obstacleDocument } from "./preview.ts";
import {
  type BlocksToldDeps,
  instancesOf,
  isBusy,
  isCharged,
  isYoung,
  SEEN,
} from "./told-instances.ts";

/** What {@link BlockNaming} looks at. */
export interface BlockNamingDeps extends BlocksToldDeps {
  readonly books: OrgBooks;
}

/** Charges the instances that a block has to a quota that comes to name it, or refuses the quota. */
export class BlockNaming {
  readonly #deps: BlockNamingDeps;
  /** Operations that add to blocks that no quota named when they began. */
  readonly #unowned = new Map<string, { readonly blockId: string; readonly createdAt: string }>();

  constructor(deps: BlockNamingDeps) {
    this.#deps = deps;
  }

  /**
   * Instances of a block that no quota names are about to come: none may come to name it before it is told what becomes of them. Of a placement that
   * is known as soon as it is durable.
   */
  noteUnowned(
    plan: Plan,
    { blockId, operationId }: { readonly blockId: string; readonly operationId: string },
    isPlacement: boolean,
  ): void {
    const forget = () => this.ended(operationId);
    for (const [id, one] of this.#unowned) if (!isYoung(this.#deps, one)) this.ended(id);
    this.#unowned.set(operationId, { blockId, createdAt: this.#deps.clock.timestamp() });
    plan.add({ undo: forget, ...(isPlacement ? { commit: forget } : {}) });
  }

  /** An operation is over. */
  ended(operationId: string): void {
    this.#unowned.delete(operationId);
  }

  /**
   * Goes with each change of a quota: the instances of a block that it comes to name, or their new price, must fit. CONFLICT while some are being
   * added, UNAVAILABLE while nobody knows how many there are, PRECONDITION_FAILED.
   */
  follow(plan: Plan, { quotaId, quota, before }: QuotaChange): void {
    if (quota === undefined || isSameCharge(quota, before)) return;
    const { books, clock, unheard } = this.#deps;
    const { blockId } = profileOf(quota);
    const row = books.charges.planned(blockCharge(quotaId));
    this.#checkQuiet(row, before === undefined ? undefined : profileOf(before).blockId);
    if (blockId === undefined || !isCharged(quota)) {
      books.charges.planRemoval(plan, blockCharge(quotaId));
      return;
    }
    this.#checkQuiet(undefined, blockId);
    const away = unheard(blockId);
    if (away.length > 0) {
      const message = `allocation_info.block_id: block ${JSON.stringify(blockId)} was on ${away.join(", ")}, not heard since the control-plane was started; try again later`;
      throw new BerthError("UNAVAILABLE", message, { details: { cluster_ids: away } });
    }
    const kept = { quota };
    const counts = { instances: instancesOf(this.#deps, quota), adding: 0 };
    const isRise = isMore(blockGpus(books.charges, { kept, ...counts }), row?.gpus ?? {});
    const about = { kept, operationId: SEEN, createdAt: clock.timestamp(), isKnown: !isRise };
    const refusal = putInstances(plan, books.charges, { ...about, ...counts });
    if (refusal === undefined) return;
    const message = `allocation_info: block ${JSON.stringify(blockId)} has ${counts.instances} instances: ${refusal.message}`;
    const details = { obstacle: obstacleDocument(refusal.obstacle) };
    throw new BerthError("PRECONDITION_FAILED", message, { details });
  }

  /** CONFLICT while instances are being added to a block. */
  #checkQuiet(row: Charge | undefined, blockId: string | undefined): void {
    const isAdding =
      (row !== undefined && row.operationId !== SEEN && isYoung(this.#deps, row)) ||
      (blockId !== undefined && isBusy(this.#deps, blockId)) ||
      [...this.#unowned.values()].some(
        (one) => one.blockId === blockId && isYoung(this.#deps, one),
      );
    if (!isAdding) return;
    const message = `allocation_info: instances of block ${JSON.stringify(blockId)} are being added; try again when they are there`;
    throw new BerthError("CONFLICT", message);
  }
}

/** Whether two quotas are charged the same for the same block. */
function isSameCharge(quota: Quota, before: Quota | undefined): boolean {
  const told = (one: Quota | undefined) => {
    const { blockId, clusterId, gpusPerReplica } =
      one === undefined ? PLAIN_PROFILE : profileOf(one);
    return { blockId, clusterId, gpusPerReplica };
  };
  return isDeepStrictEqual(told(quota), told(before));
}
