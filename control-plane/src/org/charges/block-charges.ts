import { BerthError, type Logger, type Part, Recurring } from "@berth/service-kit";
import { type GpuAmounts, without } from "../quotas/gpu-amounts.ts";
import type { KeptQuota, Quota } from "../quotas/quota.ts";
import type { Plan, Step } from "../store/org-transactions.ts";
import { BlockNaming, type BlockNamingDeps } from "./block-naming.ts";
import { blockGpus, chargedReplicas, putInstances } from "./block-row.ts";
import { blockCharge, type Charge } from "./charge.ts";
import { giveWay, type LeaseRoom, takeBack } from "./lease-room.ts";
import { obstacleDocument } from "./preview.ts";
import { instancesOf, SEEN, type ToldInstances, toldInstances } from "./told-instances.ts";

/** What {@link BlockCharges} work with. */
export interface BlockChargesDeps extends BlockNamingDeps {
  readonly logger: Logger;
}

/** Instances of a block that are about to come. */
export interface ChargedBlock {
  readonly blockId: string;
  /** Absent while nobody knows where it goes. */
  readonly clusterId?: string | undefined;
  /** As many as there are to be of a block that is made; absent where some are added to those that there are. */
  readonly instances?: number;
  /** So many more. */
  readonly added?: number;
  /** Leases that they take over: what these charge to the quota gives way. */
  readonly leaseIds?: readonly string[];
  /** What makes them: a placement, an action. */
  readonly operationId: string;
}

/** What became of instances that were charged; "unknown": what was charged stays until their cluster tells. */
export type ChargedEnd = "made" | "failed" | "unknown";

const LOOK_EVERY_MS = 5_000;

/**
 * What instances of blocks charge to the quotas whose replicas they are, beyond what requests to scale have charged for these: when the
 * gateway makes a block or adds to it by hand, and whatever clusters did on their own. Charged before anything is sent; then what the
 * clusters tell counts.
 */
export class BlockCharges implements Part {
  readonly name = "charges of blocks";
  readonly #deps: BlockChargesDeps;
  readonly #looks: Recurring;
  readonly #naming: BlockNaming;
  #unsubscribe: (() => void) | undefined;

  constructor(deps: BlockChargesDeps) {
    this.#deps = deps;
    this.#naming = new BlockNaming(deps);
    deps.books.quotas.accompany((plan, change) => this.#naming.follow(plan, change));
    this.#looks = new Recurring({
      ...{ name: this.name, everyMs: LOOK_EVERY_MS, task: () => this.look() },
      onFailure: (err) => deps.logger.warn("charges of blocks are settled later", { err }),
    });
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#deps.blocks.onChange(() => this.#looks.wake());
    await this.#looks.start();
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    await this.#looks.stop();
  }

  /**
   * Charges a block for instances that are about to come, and makes a further step, if there is one, in the same transaction; durable when it
   * resolves. Gives what leases gave, for {@link settle}. QUOTA_EXCEEDED says which quota has no room, and what would fit.
   */
  async charge(block: ChargedBlock, step?: Step): Promise<readonly LeaseRoom[]> {
    return this.#deps.books.transactions.run((plan) => {
      const kept = this.#quotaOf(block);
      const rooms = kept === undefined ? [] : this.#plan(plan, block, kept);
      if (kept === undefined) this.#naming.noteUnowned(plan, block, step !== undefined);
      if (step !== undefined) plan.add(step);
      return rooms;
    });
  }

  #plan(plan: Plan, block: ChargedBlock, kept: KeptQuota): readonly LeaseRoom[] {
    const { books, clock } = this.#deps;
    const { quotaId } = kept.quota;
    const row = books.charges.planned(blockCharge(quotaId));
    const there = Math.max(row?.instances ?? 0, instancesOf(this.#deps, kept.quota));
    const counts = {
      instances: Math.max(there, block.instances ?? 0),
      adding: (row?.adding ?? 0) + (block.added ?? 0),
    };
    const needed = without(blockGpus(books.charges, { kept, ...counts }), row?.gpus ?? {});
    const { leaseIds = [] } = block;
    const rooms = giveWay(plan, books.charges, { quotaId, leaseIds, needed });
    const about = { kept, operationId: block.operationId, createdAt: clock.timestamp() };
    const refusal = putInstances(plan, books.charges, { ...about, ...counts });
    if (refusal === undefined) return rooms;
    const details = { obstacle: obstacleDocument(refusal.obstacle) };
    throw new BerthError("QUOTA_EXCEEDED", refusal.message, { details });
  }

  /**
   * Instances that were charged are there, and the leases that they took over are gone; or they do not come, and what leases gave is theirs
   * again. What clusters tell counts as soon as nothing else is on its way. Never rejects: what is not written is settled by what clusters tell.
   */
  async settle(
    block: ChargedBlock,
    end: ChargedEnd,
    rooms: readonly LeaseRoom[] = [],
  ): Promise<void> {
    const { books, logger } = this.#deps;
    if (end === "unknown") return this.#looks.wake();
    this.#naming.ended(block.operationId);
    try {
      await books.transactions.run((plan) => {
        const kept = this.#quotaOf(block);
        if (kept === undefined) return;
        const free = this.#planEnd(plan, { block, kept, end });
        if (end === "failed") takeBack(plan, books.charges, { rooms, free });
        else for (const { chargeId } of rooms) books.charges.planRemoval(plan, chargeId);
      });
    } catch (err) {
      logger.warn("charges of blocks are settled later", { err });
    }
    this.#looks.wake();
  }

  /** Gives what is charged no more. */
  #planEnd(
    plan: Plan,
    { block, kept, end }: { block: ChargedBlock; kept: KeptQuota; end: ChargedEnd },
  ): GpuAmounts {
    const { charges } = this.#deps.books;
    const chargeId = blockCharge(kept.quota.quotaId);
    const row = charges.planned(chargeId);
    if (row === undefined) return {};
    const { instances = 0, adding = 0, operationId, createdAt } = row;
    const added = Math.min(block.added ?? 0, adding);
    const left = adding - added;
    const isLast = left === 0 && (added > 0 || operationId === block.operationId);
    // Beside the replicas that requests have charged for: they were charged while they came, and cost no more now.
    const made = Math.max(instances, chargedReplicas(charges, kept)) + added;
    putInstances(plan, charges, {
      ...{ kept, createdAt, isKnown: true, adding: left, most: row.gpus },
      instances: end === "made" ? made : instances,
      operationId: isLast ? SEEN : operationId,
    });
    return without(row.gpus, charges.planned(chargeId)?.gpus ?? {});
  }

  /** Brings what is charged to what the clusters tell of the blocks of all quotas. */
  async look(): Promise<void> {
    const { quotas, charges, transactions } = this.#deps.books;
    const given = charges.all().filter((one) => one.given !== undefined);
    const lending = new Set(given.map(({ quotaId }) => quotaId));
    const due = quotas.all().filter((kept) => {
      const told = toldInstances(this.#deps, charges, kept);
      const isBack = lending.has(kept.quota.quotaId) && isQuiet(told);
      return isBack || !this.#isCharged(kept, told);
    });
    const left = charges.all().filter((one) => {
      return one.kind === "block" && !quotas.tree.has(one.quotaId);
    });
    if (due.length + left.length === 0) return;
    await transactions.run((plan) => {
      for (const { quota } of due) if (quotas.tree.has(quota.quotaId)) this.#follow(plan, quota);
      for (const { chargeId } of left) charges.planRemoval(plan, chargeId);
    });
  }

  /** Has a quota, as it will be, charged for what clusters tell of its block. */
  #follow(plan: Plan, { quotaId }: Pick<Quota, "quotaId">): void {
    const { books, clock } = this.#deps;
    const kept = books.quotas.planned(quotaId);
    const told = toldInstances(this.#deps, books.charges, kept);
    if (told === undefined) return;
    const about = { operationId: SEEN, createdAt: clock.timestamp(), isKnown: true };
    if (!this.#isCharged(kept, told)) {
      putInstances(plan, books.charges, { kept, ...about, ...told });
    }
    if (!isQuiet(told)) return;
    for (const lease of books.charges.plannedOf(quotaId)) this.#endRoom(plan, lease);
  }

  /** Whether a quota is charged for what is told, or nothing is. */
  #isCharged({ quota }: KeptQuota, told: ToldInstances | undefined): boolean {
    const row = this.#deps.books.charges.planned(blockCharge(quota.quotaId));
    const { instances = 0, adding = 0 } = row ?? {};
    return told === undefined || (told.instances === instances && told.adding === adding);
  }

  /** Nothing is heard any more of instances that were to take a lease over: it is charged as long as its ledger has it. */
  #endRoom(plan: Plan, { chargeId, clusterId = "", operationId, given }: Charge): void {
    if (given === undefined) return;
    const { charges } = this.#deps.books;
    const told = this.#deps.blocks.of(clusterId);
    const isHeld = told?.leases.some(({ lease_id }) => lease_id === operationId) ?? true;
    if (isHeld) takeBack(plan, charges, { rooms: [{ chargeId, gpus: given }], free: given });
    else charges.planRemoval(plan, chargeId);
  }

  #quotaOf({ blockId, clusterId }: ChargedBlock): KeptQuota | undefined {
    return this.#deps.books.quotas.plannedOfBlock(blockId, clusterId);
  }
}

/** Whether it is known what there is, and nothing is on its way. */
function isQuiet(told: ToldInstances | undefined): boolean {
  return told !== undefined && told.operationId === undefined;
}
