import { BerthError, type Clock, type Logger, type Part, Recurring } from "@berth/service-kit";
import type { FleetBlocks } from "../../fleet/agent-api.ts";
import type { FleetSnapshot } from "../../fleet/cluster-view.ts";
import type { OrgBooks } from "../org-books.ts";
import type { GpuAmounts } from "../quotas/gpu-amounts.ts";
import { type Charge, type ChargeRefusal, leaseCharge } from "./charge.ts";

/** A lease that is about to be asked for. */
export interface HeldPlace {
  readonly leaseId: string;
  readonly clusterId: string;
  /** What it holds, by flavor. */
  readonly gpus: GpuAmounts;
}

/** What {@link HoldCharges} work with. */
export interface HoldChargesDeps {
  readonly books: OrgBooks;
  readonly blocks: Pick<FleetBlocks, "of" | "onChange">;
  /** The clusters that are registered, or were heard since this program's start. */
  readonly snapshot: () => Promise<FleetSnapshot>;
  /** Those that had an agent before, and were not heard since. */
  readonly unheard: () => Promise<readonly string[]>;
  readonly clock: Pick<Clock, "timestamp">;
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 5_000;
/** A lease that its ledger does not tell of may still be on its way there for so long, ms. */
const UNDER_WAY_MS = 15_000;

/**
 * What leases of the allocator charge to quotas: one row each, durable before the lease is asked for, gone when the ledger of its cluster has
 * it no more: ended, over, or taken over by an instance. What a cluster that is away holds stays charged.
 */
export class HoldCharges implements Part {
  readonly name = "charges of holds";
  readonly #deps: HoldChargesDeps;
  readonly #looks: Recurring;
  #unsubscribe: (() => void) | undefined;

  constructor(deps: HoldChargesDeps) {
    this.#deps = deps;
    this.#looks = new Recurring({
      ...{ name: this.name, everyMs: LOOK_EVERY_MS, task: () => this.look() },
      onFailure: (err) => deps.logger.warn("charges of holds are settled later", { err }),
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
   * The quota that a hold is charged to: the one that is named, or the only one of its subject; undefined when the subject has none, or nobody
   * is named. NOT_FOUND, and INVALID_ARGUMENT when it is not the subject's, or when the subject has several.
   */
  quotaOf(subject: string | undefined, quotaId: string | undefined): string | undefined {
    const { quotas } = this.#deps.books;
    if (quotaId !== undefined) {
      const { quota } = quotas.get(quotaId);
      if (subject === undefined || subject === quota.subjectId) return quotaId;
      const message = `hold.quota_id: it is no quota of subject ${JSON.stringify(subject)}`;
      throw new BerthError("INVALID_ARGUMENT", message);
    }
    if (subject === undefined) return undefined;
    const found = quotas.ofSubject(subject).map(({ quota }) => quota.quotaId);
    if (found.length < 2) return found[0];
    const named = found.slice(0, 10).join(", ");
    const message = `hold.quota_id: subject ${JSON.stringify(subject)} has several quotas, expected one of ${named}`;
    throw new BerthError("INVALID_ARGUMENT", message, { details: { quota_ids: found } });
  }

  /** Charges leases, all of them or none; the refusal when they do not fit. Durable when it resolves. */
  async take(quotaId: string, places: readonly HeldPlace[]): Promise<ChargeRefusal | undefined> {
    const { books, clock } = this.#deps;
    const createdAt = clock.timestamp();
    try {
      await books.transactions.run((plan) => {
        for (const { leaseId, clusterId, gpus } of places) {
          if (Object.keys(gpus).length === 0) continue;
          const about = { chargeId: leaseCharge(leaseId), quotaId, clusterId, gpus, createdAt };
          const charge: Charge = { ...about, kind: "lease", operationId: leaseId };
          const put = books.charges.plan(plan, charge);
          // What was planned of the others is taken back by this.
          if (put.kind === "refused") throw new Refused(put);
        }
      });
      return undefined;
    } catch (thrown) {
      if (thrown instanceof Refused) return thrown.refusal;
      throw thrown;
    }
  }

  /** Leases that were not got, or were given back, charge nothing. Never rejects: what is not written is settled later. */
  async end(leaseIds: readonly string[]): Promise<void> {
    try {
      await this.#remove(leaseIds.map(leaseCharge));
    } catch (err) {
      this.#deps.logger.warn("charges of holds are settled later", { err });
    }
  }

  /** Ends the charges of leases that their ledgers do not have any more. */
  async look(): Promise<void> {
    const { books, snapshot, unheard } = this.#deps;
    const leases = books.charges.all().filter(({ kind }) => kind === "lease");
    if (leases.length === 0) return;
    const { clusters } = await snapshot();
    const away = leases.filter(({ clusterId = "" }) => !clusters.has(clusterId));
    const kept = new Set(away.length === 0 ? [] : await unheard());
    const gone = away.filter(({ clusterId = "" }) => !kept.has(clusterId));
    const over = leases.filter((charge) => this.#isOver(charge));
    await this.#remove([...gone, ...over].map(({ chargeId }) => chargeId));
  }

  #isOver({ clusterId = "", operationId, createdAt }: Charge): boolean {
    const { blocks, clock } = this.#deps;
    const told = blocks.of(clusterId);
    if (told === undefined || !told.isLive || told.isBehind) return false;
    if (told.leases.some(({ lease_id }) => lease_id === operationId)) return false;
    return Date.parse(clock.timestamp()) - Date.parse(createdAt) > UNDER_WAY_MS;
  }

  async #remove(chargeIds: readonly string[]): Promise<void> {
    if (chargeIds.length === 0) return;
    const { books } = this.#deps;
    await books.transactions.run((plan) => {
      for (const chargeId of chargeIds) books.charges.planRemoval(plan, chargeId);
    });
  }
}

/** Ends a transaction whose charge does not fit. */
class Refused extends Error {
  readonly refusal: ChargeRefusal;

  constructor(refusal: ChargeRefusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}
