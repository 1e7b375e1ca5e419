import { BerthError, type Clock, type Logger, type Part, Recurring } from "@berth/service-kit";
import type { FleetBlocks } from "../../fleet/agent-api.ts";
import type { OrgBooks } from "../org-books.ts";
import { ownersOf, profileOf } from "../profiles/quota-owners.ts";
import type { KeptQuota } from "../quotas/quota.ts";
import type { Plan, Step } from "../store/org-transactions.ts";
import { putInstances } from "./block-row.ts";
import { blockCharge, type Charge, leaseCharge } from "./charge.ts";
import { obstacleDocument } from "./preview.ts";

/** What {@link BlockCharges} work with. */
export interface BlockChargesDeps {
  readonly books: OrgBooks;
  readonly blocks: FleetBlocks;
  /** Clusters that had the block and were not heard since the start. */
  readonly unheard: (blockId: string) => readonly string[];
  /** Whether the block is on its way to a cluster. */
  readonly isUnderway: (blockId: string) => boolean;
  readonly clock: Pick<Clock, "timestamp">;
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
  /** Leases that they take over: what these charge to the quota makes room. */
  readonly leaseIds?: readonly string[];
  /** What makes them: a placement, an action. */
  readonly operationId: string;
}

/** What became of instances that were charged; "unknown": what was charged stays until their cluster tells. */
export type ChargedEnd = "made" | "failed" | "unknown";

const LOOK_EVERY_MS = 5_000;
/** What was charged a moment ago may not be there yet, ms. */
const UNDER_WAY_MS = 30_000;
/** In place of the operation of a row that follows what clusters tell. */
const SEEN = "seen";
const NOTHING = { instances: 0, adding: 0 };

/**
 * What instances of blocks charge to the quotas whose replicas they are, beyond what requests to scale have charged for these: when the
 * gateway makes a block or adds to it by hand, and whatever clusters did on their own. Charged before anything is sent; then what the
 * clusters tell counts.
 */
export class BlockCharges implements Part {
  readonly name = "charges of blocks";
  readonly #deps: BlockChargesDeps;
  readonly #looks: Recurring;
  #unsubscribe: (() => void) | undefined;

  constructor(deps: BlockChargesDeps) {
    this.#deps = deps;
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
   * resolves. Gives the charges of leases that made room, for {@link settle}. QUOTA_EXCEEDED says which quota has no room, and
   * what would fit.
   */
  async charge(block: ChargedBlock, step?: Step): Promise<readonly Charge[]> {
    const { books } = this.#deps;
    const kept = this.#quotaOf(block);
    if (kept === undefined && step === undefined) return [];
    return books.transactions.run((plan) => {
      const leases = kept === undefined ? [] : this.#plan(plan, block, kept);
      if (step !== undefined) plan.add(step);
      return leases;
    });
  }

  #plan(plan: Plan, block: ChargedBlock, kept: KeptQuota): readonly Charge[] {
    const { books, clock } = this.#deps;
    const { quotaId } = kept.quota;
    const leases = (block.leaseIds ?? [])
      .flatMap((leaseId) => books.charges.planned(leaseCharge(leaseId)) ?? [])
      .filter((lease) => lease.quotaId === quotaId);
    for (const { chargeId } of leases) books.charges.planRemoval(plan, chargeId);
    const row = books.charges.planned(blockCharge(quotaId));
    const there = Math.max(row?.instances ?? 0, this.#count(kept, block.blockId));
    const refusal = putInstances(plan, books.charges, {
      ...{ kept, operationId: block.operationId, createdAt: clock.timestamp() },
      instances: Math.max(there, block.instances ?? 0),
      adding: (row?.adding ?? 0) + (block.added ?? 0),
    });
    if (refusal === undefined) return leases;
    const details = { obstacle: obstacleDocument(refusal.obstacle) };
    throw new BerthError("QUOTA_EXCEEDED", refusal.message, { details });
  }

  /**
   * Instances that were charged are there, or do not come. Unless they are there, leases that made room are charged again. What clusters tell
   * counts as soon as nothing else is on its way. Never rejects: what is not written is settled by what clusters tell.
   */
  async settle(
    block: ChargedBlock,
    end: ChargedEnd,
    leases: readonly Charge[] = [],
  ): Promise<void> {
    const { books, logger } = this.#deps;
    const kept = this.#quotaOf(block);
    if (kept === undefined) return;
    try {
      await books.transactions.run((plan) => {
        for (const lease of end === "made" ? [] : leases) books.charges.planAdoption(plan, lease);
        if (end !== "unknown") this.#planEnd(plan, { block, kept, end });
      });
    } catch (err) {
      logger.warn("charges of blocks are settled later", { err });
    }
    this.#looks.wake();
  }

  #planEnd(
    plan: Plan,
    { block, kept, end }: { block: ChargedBlock; kept: KeptQuota; end: ChargedEnd },
  ): void {
    const { charges } = this.#deps.books;
    const row = charges.planned(blockCharge(kept.quota.quotaId));
    if (row === undefined) return;
    const { instances = 0, adding = 0, operationId, createdAt } = row;
    const added = Math.min(block.added ?? 0, adding);
    const left = adding - added;
    const isLast = left === 0 && (added > 0 || operationId === block.operationId);
    putInstances(plan, charges, {
      ...{ kept, createdAt, isKnown: true, adding: left },
      instances: end === "made" ? instances + added : instances,
      operationId: isLast ? SEEN : operationId,
    });
  }

  /** Brings what is charged to what the clusters tell of the blocks of all quotas. */
  async look(): Promise<void> {
    const { books, clock } = this.#deps;
    const due = books.quotas.all().flatMap((kept) => {
      const { blockId, gpusPerReplica } = profileOf(kept.quota);
      const isCharged = blockId !== undefined && Object.keys(gpusPerReplica).length > 0;
      const told = isCharged ? this.#told(kept, blockId) : NOTHING;
      const row = books.charges.planned(blockCharge(kept.quota.quotaId));
      const { instances = 0, adding = 0 } = row ?? {};
      const isSame = told?.instances === instances && told.adding === adding;
      return told === undefined || isSame ? [] : [{ kept, ...told }];
    });
    const { tree } = books.quotas;
    const left = books.charges
      .all()
      .filter((one) => one.kind === "block" && !tree.has(one.quotaId));
    if (due.length === 0 && left.length === 0) return;
    const about = { operationId: SEEN, createdAt: clock.timestamp(), isKnown: true };
    await books.transactions.run((plan) => {
      for (const one of due) putInstances(plan, books.charges, { ...about, ...one });
      for (const { chargeId } of left) books.charges.planRemoval(plan, chargeId);
    });
  }

  /** What clusters tell of a quota's block; undefined while that is not known, or about to change. */
  #told(kept: KeptQuota, blockId: string) {
    const { books, unheard, isUnderway, clock } = this.#deps;
    if (isUnderway(blockId) || unheard(blockId).length > 0) return undefined;
    const homes = this.#homesOf(kept, blockId);
    if (homes.some(({ isLive, isBehind }) => !isLive || isBehind)) return undefined;
    const count = this.#count(kept, blockId);
    const row = books.charges.planned(blockCharge(kept.quota.quotaId));
    const { instances = 0, adding = 0, operationId = SEEN, createdAt = "" } = row ?? {};
    const ageMs = Date.parse(clock.timestamp()) - Date.parse(createdAt);
    if (operationId === SEEN || ageMs >= UNDER_WAY_MS) return { instances: count, adding: 0 };
    // More than what is on its way explains: somebody has added to it elsewhere.
    if (count <= instances + adding) return undefined;
    return { instances: count - adding, adding, operationId, createdAt };
  }

  /** Instances of a quota's block that its clusters told of last. */
  #count(kept: KeptQuota, blockId: string): number {
    const counts = this.#homesOf(kept, blockId).map(
      ({ blocks }) => blocks.get(blockId)?.instances.length ?? 0,
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #homesOf({ quota }: KeptQuota, blockId: string) {
    const { clusterId } = profileOf(quota);
    const homes = this.#deps.blocks.withBlock(blockId);
    return homes.filter((told) => (clusterId ?? told.clusterId) === told.clusterId);
  }

  #quotaOf({ blockId, clusterId }: ChargedBlock): KeptQuota | undefined {
    const all = this.#deps.books.quotas.all();
    if (clusterId !== undefined) return ownersOf(all).quotaOfBlock(clusterId, blockId);
    return all.find(({ quota }) => profileOf(quota).blockId === blockId);
  }
}
