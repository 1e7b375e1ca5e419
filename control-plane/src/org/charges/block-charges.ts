import { BerthError, type Clock, type Logger, type Part } from "@berth/service-kit";
import type { FleetBlocks } from "../../fleet/agent-api.ts";
import type { OrgBooks } from "../org-books.ts";
import { ownersOf, profileOf } from "../profiles/quota-owners.ts";
import type { GpuAmounts } from "../quotas/gpu-amounts.ts";
import type { KeptQuota } from "../quotas/quota.ts";
import type { Plan, Step } from "../store/org-transactions.ts";
import { blockCharge, type Charge, replicasCharge, times } from "./charge.ts";
import type { ChargeBook } from "./charge-book.ts";
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

/** A block that is about to have so many instances. */
export interface ChargedBlock {
  readonly blockId: string;
  /** Absent while nobody knows where it goes. */
  readonly clusterId?: string | undefined;
  readonly instances: number;
  /** What makes them: a placement, an action. */
  readonly operationId: string;
}

const LOOK_EVERY_MS = 5_000;
/** What was charged a moment ago may not be there yet, ms. */
const UNDER_WAY_MS = 30_000;
/** In place of the operation of a row that follows what clusters tell. */
const SEEN = "seen";

/**
 * What instances of blocks charge to the quotas whose replicas they are, beyond what requests to scale have charged for these: when the
 * gateway makes a block or adds to it by hand, and whatever clusters did on their own. Charged before anything is sent; then what the
 * clusters tell counts.
 */
export class BlockCharges implements Part {
  readonly name = "charges of blocks";
  readonly #deps: BlockChargesDeps;
  #timer: NodeJS.Timeout | undefined;
  #unsubscribe: (() => void) | undefined;
  #looking: Promise<void> | undefined;

  constructor(deps: BlockChargesDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#deps.blocks.onChange(() => this.#wake());
    this.#timer = setInterval(() => this.#wake(), LOOK_EVERY_MS);
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    clearInterval(this.#timer);
    await this.#looking;
  }

  /**
   * Charges a block for its instances, and makes a further step, if there is one, in the same transaction; durable when it resolves.
   * QUOTA_EXCEEDED says which quota has no room, and what would fit.
   */
  async charge(block: ChargedBlock, step?: Step): Promise<void> {
    const { books, clock } = this.#deps;
    const kept = this.#quotaOf(block);
    if (kept === undefined && step === undefined) return;
    await books.transactions.run((plan) => {
      if (kept !== undefined) {
        const { operationId, instances } = block;
        const about = { operationId, createdAt: clock.timestamp() };
        const refusal = putInstances(plan, books.charges, { kept, instances, ...about });
        if (refusal !== undefined) {
          const details = { obstacle: obstacleDocument(refusal.obstacle) };
          throw new BerthError("QUOTA_EXCEEDED", refusal.message, { details });
        }
      }
      if (step !== undefined) plan.add(step);
    });
  }

  /** What was charged for a block came to nothing: what its clusters tell counts at once, unless something else was charged since. */
  async release(block: ChargedBlock): Promise<void> {
    const { charges, transactions } = this.#deps.books;
    const kept = this.#quotaOf(block);
    if (kept === undefined) return;
    await transactions.run((plan) => {
      const row = charges.planned(blockCharge(kept.quota.quotaId));
      if (row?.operationId !== block.operationId) return;
      charges.planAdoption(plan, { ...row, operationId: SEEN });
    });
    this.#wake();
  }

  /** Brings what is charged to what the clusters tell of the blocks of all quotas. */
  async look(): Promise<void> {
    const { books, clock } = this.#deps;
    const due = books.quotas.all().flatMap((kept) => {
      const { blockId, gpusPerReplica } = profileOf(kept.quota);
      const isCharged = blockId !== undefined && Object.keys(gpusPerReplica).length > 0;
      const instances = isCharged ? this.#seen(kept, blockId) : 0;
      const charged = books.charges.planned(blockCharge(kept.quota.quotaId))?.instances ?? 0;
      return instances === undefined || instances === charged ? [] : [{ kept, instances }];
    });
    const { tree } = books.quotas;
    const left = books.charges
      .all()
      .filter((one) => one.kind === "block" && !tree.has(one.quotaId));
    if (due.length === 0 && left.length === 0) return;
    const about = { operationId: SEEN, createdAt: clock.timestamp(), isKnown: true };
    await books.transactions.run((plan) => {
      for (const one of due) putInstances(plan, books.charges, { ...one, ...about });
      for (const { chargeId } of left) books.charges.planRemoval(plan, chargeId);
    });
  }

  /** Instances that all clusters tell of; undefined while that is not known, or about to change. */
  #seen({ quota }: KeptQuota, blockId: string): number | undefined {
    const { books, blocks, unheard, isUnderway, clock } = this.#deps;
    const { clusterId } = profileOf(quota);
    if (isUnderway(blockId) || unheard(blockId).length > 0) return undefined;
    const row = books.charges.planned(blockCharge(quota.quotaId));
    const isFresh = row !== undefined && row.operationId !== SEEN;
    const ageMs = Date.parse(clock.timestamp()) - Date.parse(row?.createdAt ?? "");
    if (isFresh && ageMs < UNDER_WAY_MS) return undefined;
    let count = 0;
    for (const told of blocks.withBlock(blockId)) {
      if (clusterId !== undefined && told.clusterId !== clusterId) continue;
      if (!told.isLive) return undefined;
      count += told.blocks.get(blockId)?.instances.length ?? 0;
    }
    return count;
  }

  #quotaOf({ blockId, clusterId }: ChargedBlock): KeptQuota | undefined {
    const all = this.#deps.books.quotas.all();
    if (clusterId !== undefined) return ownersOf(all).quotaOfBlock(clusterId, blockId);
    return all.find(({ quota }) => profileOf(quota).blockId === blockId);
  }

  #wake(): void {
    this.#looking ??= this.look()
      .catch((err: unknown) =>
        this.#deps.logger.warn("charges of blocks are settled later", { err }),
      )
      .finally(() => {
        this.#looking = undefined;
      });
  }
}

/** GPUs that `instances` take beyond those that `charged` replicas are charged for. */
export function surplusGpus(
  { quota }: Pick<KeptQuota, "quota">,
  instances: number,
  charged: number,
): GpuAmounts {
  return times(profileOf(quota).gpusPerReplica, Math.max(0, instances - charged));
}

/** Has a quota charged for the instances of its block; the refusal when they do not fit. `isKnown`: they are there. */
function putInstances(
  plan: Plan,
  charges: ChargeBook,
  {
    kept,
    instances,
    isKnown = false,
    ...about
  }: Pick<Charge, "operationId" | "createdAt"> & {
    readonly kept: KeptQuota;
    readonly instances: number;
    readonly isKnown?: boolean;
  },
) {
  const { quotaId } = kept.quota;
  const chargeId = blockCharge(quotaId);
  const before = charges.planned(chargeId)?.instances ?? 0;
  const counted = isKnown ? instances : Math.max(before, instances);
  const gpus = surplusGpus(kept, counted, chargedReplicas(charges, kept));
  if (counted === 0) {
    charges.planRemoval(plan, chargeId);
    return undefined;
  }
  const charge: Charge = { chargeId, quotaId, kind: "block", gpus, instances: counted, ...about };
  if (isKnown) {
    charges.planAdoption(plan, charge);
    return undefined;
  }
  const put = charges.plan(plan, charge);
  return put.kind === "refused" ? put : undefined;
}

/** Replicas that requests to scale have charged for. */
function chargedReplicas(charges: ChargeBook, { quota }: KeptQuota): number {
  const row = charges.planned(replicasCharge(quota.quotaId));
  const counts = Object.entries(profileOf(quota).gpusPerReplica).flatMap(([flavor, milli]) =>
    milli === 0 ? [] : [(row?.gpus[flavor] ?? 0) / milli],
  );
  return counts.length === 0 ? 0 : Math.floor(Math.min(...counts));
}
