import type { OrgTransactions, Plan } from "../../org/store/org-transactions.ts";
import type { ReplicaPlace } from "./replica-place.ts";
import type { ScaleBook } from "./scale-book.ts";
import type { ScaleRequest } from "./scale-request.ts";

/** The places of replicas without a block, by quota; each change is durable when it resolves. */
export class ReplicaPlaces {
  readonly #transactions: OrgTransactions;
  readonly #scale: ScaleBook;

  constructor(transactions: OrgTransactions, scale: ScaleBook) {
    this.#transactions = transactions;
    this.#scale = scale;
  }

  /** Those of a quota, the oldest first. */
  of(quotaId: string): readonly ReplicaPlace[] {
    return this.#scale.quota(quotaId).places ?? [];
  }

  /** Keeps a place that was got for a request; tells whether the request is still to be applied. */
  add({ uuid, quotaId }: ScaleRequest, place: ReplicaPlace): Promise<boolean> {
    return this.#transactions.run((plan) => {
      this.#put(plan, quotaId, [...this.of(quotaId), place]);
      return this.#scale.planned(uuid)?.state === "dispatched";
    });
  }

  /** The leases of these places of a quota are gone. */
  async lose(quotaId: string, ids: ReadonlySet<string>): Promise<void> {
    await this.#transactions.run((plan) => {
      const places = this.of(quotaId).map((place): ReplicaPlace => {
        const { leaseId: _gone, ...rest } = place;
        return ids.has(place.id) ? rest : place;
      });
      this.#put(plan, quotaId, places);
    });
  }

  /** Forgets all places of a quota, and gives them. */
  forget(quotaId: string): Promise<readonly ReplicaPlace[]> {
    return this.#transactions.run((plan) => {
      const places = this.of(quotaId);
      this.#put(plan, quotaId, []);
      return places;
    });
  }

  #put(plan: Plan, quotaId: string, places: readonly ReplicaPlace[]): void {
    this.#scale.putQuota(plan, quotaId, { ...this.#scale.quota(quotaId), places });
  }
}

/** Takes places of a quota out of the book. */
export function removePlaces(
  plan: Plan,
  scale: ScaleBook,
  { quotaId, ids }: { readonly quotaId: string; readonly ids: readonly string[] },
): void {
  const { places = [], ...scaled } = scale.quota(quotaId);
  const left = places.filter(({ id }) => !ids.includes(id));
  if (left.length < places.length) scale.putQuota(plan, quotaId, { ...scaled, places: left });
}

/** Has the places, which may be many, stand in the newest response of a quota alone: `request` has them now. */
export function keepToldPlaces(plan: Plan, scale: ScaleBook, request: ScaleRequest): void {
  const { quotaId, uuid } = request;
  const scaled = scale.quota(quotaId);
  const former = scaled.toldIn === undefined ? undefined : scale.planned(scaled.toldIn);
  if (former?.response !== undefined) {
    const { places: _now, removed_places: _gone, ...response } = former.response;
    scale.put(plan, { ...former, response });
  }
  scale.putQuota(plan, quotaId, { ...scaled, toldIn: uuid });
}
