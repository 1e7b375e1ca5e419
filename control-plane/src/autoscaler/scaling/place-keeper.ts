import { type Logger, type Part, Recurring } from "@berth/service-kit";
import type { Quota } from "../../org/quotas/quota.ts";
import type { QuotaBook, QuotaChange } from "../../org/quotas/quota-book.ts";
import type { Plan } from "../../org/store/org-transactions.ts";
import type { Placer } from "./placer.ts";
import type { ReplicaPlaces } from "./replica-places.ts";
import type { ScaleBook } from "./scale-book.ts";

/** What {@link PlaceKeeper} works with. */
export interface PlaceKeeperDeps {
  readonly scale: ScaleBook;
  readonly places: ReplicaPlaces;
  readonly quotas: Pick<QuotaBook, "tree" | "planned">;
  /** Whether a policy chooses places for the replicas of a quota. */
  readonly isPlaced: (quota: Quota) => boolean;
  readonly placer: Pick<Placer, "renew" | "release">;
  readonly logger: Logger;
}

const LOOK_EVERY_MS = 30_000;

/** Keeps the leases of replicas' places until somebody takes them over, as long as ledgers renew them. */
export class PlaceKeeper implements Part {
  readonly name = "replica places";
  readonly #deps: PlaceKeeperDeps;
  readonly #stop = new AbortController();
  readonly #looks: Recurring;

  constructor(deps: PlaceKeeperDeps) {
    this.#deps = deps;
    this.#looks = new Recurring({
      ...{ name: this.name, everyMs: LOOK_EVERY_MS, task: () => this.look() },
      onFailure: (err) => {
        if (this.#stop.signal.aborted) return;
        deps.logger.error("the places of replicas could not be kept", { err });
      },
    });
  }

  start(): Promise<void> {
    return this.#looks.start();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#looks.stop();
  }

  /**
   * Goes with each change of a quota, and its removal: whose replicas are placed no more gives their places back, and of one that is gone only
   * the generation is remembered.
   */
  follow(plan: Plan, { quotaId, quota }: QuotaChange): void {
    const { scale, placer, isPlaced } = this.#deps;
    const { places = [], ...scaled } = scale.quota(quotaId);
    const { generation } = scaled;
    if (quota === undefined) {
      if (generation > 0) scale.putQuota(plan, quotaId, { generation, charged: 0 });
    } else {
      if (places.length === 0 || isPlaced(quota)) return;
      scale.putQuota(plan, quotaId, scaled);
    }
    if (places.length === 0) return;
    plan.add({ undo: () => undefined, commit: () => void placer.release(places) });
  }

  /**
   * Renews the leases of all places that are due; a place whose lease is gone loses it. Places of a quota whose replicas are placed no
   * more are given back. Rejects when a change could not be written.
   */
  async look(): Promise<void> {
    const { scale, places, quotas, placer, isPlaced } = this.#deps;
    const hasPlaces = (quotaId: string) =>
      quotas.tree.has(quotaId) && isPlaced(quotas.planned(quotaId).quota);
    const placed = scale.placed();
    for (const [quotaId] of placed) {
      if (!hasPlaces(quotaId)) await placer.release(await places.forget(quotaId));
    }
    const all = placed.flatMap(([quotaId, some]) => (hasPlaces(quotaId) ? some : []));
    const gone = await placer.renew(all, this.#stop.signal);
    for (const [quotaId, some] of placed) {
      if (some.some(({ id }) => gone.has(id))) await places.lose(quotaId, gone);
    }
  }
}
