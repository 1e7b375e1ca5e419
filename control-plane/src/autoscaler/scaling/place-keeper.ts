import { type Logger, type Part, Recurring } from "@berth/service-kit";
import type { QuotaBook } from "../../org/quotas/quota-book.ts";
import type { Placer } from "./placer.ts";
import type { ReplicaPlaces } from "./replica-places.ts";
import type { ScaleBook } from "./scale-book.ts";

/** What {@link PlaceKeeper} works with. */
export interface PlaceKeeperDeps {
  readonly scale: ScaleBook;
  readonly places: ReplicaPlaces;
  readonly quotas: Pick<QuotaBook, "tree">;
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
   * Renews the leases of all places that are due; a place whose lease is gone loses it. Places of a quota that was removed are
   * given back. Rejects when a change could not be written.
   */
  async look(): Promise<void> {
    const { scale, places, quotas, placer } = this.#deps;
    const placed = scale.placed();
    for (const [quotaId] of placed) {
      if (!quotas.tree.has(quotaId)) await placer.release(await places.forget(quotaId));
    }
    const all = placed.flatMap(([quotaId, some]) => (quotas.tree.has(quotaId) ? some : []));
    const gone = await placer.renew(all, this.#stop.signal);
    for (const [quotaId, some] of placed) {
      if (some.some(({ id }) => gone.has(id))) await places.lose(quotaId, gone);
    }
  }
}
