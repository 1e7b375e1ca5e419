import { BerthError, type Clock, type DocumentStore, type Write } from "@berth/service-kit";
import {
  judgeKnownStore,
  type KnownStore,
  type StoreFence,
  type StoreVerdict,
} from "./store-verdict.ts";

const ADOPTED = "adopted_stores";
const RESTORED = { collection: "fleet", id: "restored" } as const;
/** Most stores that one may take the place of; every registration is told all of them. */
const MAX_ADOPTED = 100;

/** What {@link openFleetStores} needs. */
export interface FleetStoresDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  /** Term of this start. */
  readonly controllerTerm: bigint;
}

/** Proof that this store was restored from an older copy, kept until an operator has decided. */
export interface RestoredEvidence {
  /** Cluster whose agent knew better. */
  readonly clusterId: string;
  /** Term of this store that the agent had seen, decimal. */
  readonly knownTerm: string;
  /** Term of this control-plane then, decimal. */
  readonly controllerTerm: string;
  /** ISO 8601. */
  readonly seenAt: string;
}

/** What an adoption changes. */
export interface AdoptionPlan {
  /** Whether this store gets a new id, as it was restored. */
  readonly renews: boolean;
  /** Store ids whose place this one takes from now on, the former own id included. */
  readonly storeIds: readonly string[];
}

/** Opens what the control-plane's store knows of itself and of the stores that it has taken the place of. */
export async function openFleetStores(deps: FleetStoresDeps): Promise<FleetStores> {
  const { store, orgId, controllerTerm } = deps;
  const adopted = await store.list({ orgId, collection: ADOPTED });
  const restored = await store.get<RestoredEvidence>({ orgId, ...RESTORED });
  return new FleetStores(deps, {
    fence: { storeId: await store.storeId(), controllerTerm },
    adopted: new Set(adopted.map(({ id }) => id)),
    restored: restored?.body,
  });
}

interface Held {
  readonly fence: StoreFence;
  readonly adopted: ReadonlySet<string>;
  readonly restored: RestoredEvidence | undefined;
}

/** The identity of the control-plane's store, and which other stores it has taken the place of. */
export class FleetStores {
  readonly #deps: FleetStoresDeps;
  /** Identities that this process has told its fence. */
  readonly #told = new Set<string>();
  #held: Held;

  constructor(deps: FleetStoresDeps, held: Held) {
    this.#deps = deps;
    this.#held = held;
  }

  /** Store id and term as they are now. */
  get fence(): StoreFence {
    return this.#held.fence;
  }

  /** Ids of the stores that this one has taken the place of. */
  get adoptedStoreIds(): readonly string[] {
    return [...this.#held.adopted];
  }

  /** Why this store counts as restored from an older copy; undefined when it does not. */
  get restored(): RestoredEvidence | undefined {
    return this.#held.restored;
  }

  /**
   * Judges what an agent that registers knew; `identity` is whom its key is bound to. That the store was
   * restored is durable before it resolves, as after a few starts no term would show it any more.
   */
  async judge(identity: string, clusterId: string, known: KnownStore): Promise<StoreVerdict> {
    const { fence, adopted } = this.#held;
    const answeredBefore = this.#told.has(identity);
    const verdict = judgeKnownStore({ fence, adopted, known, answeredBefore });
    if (verdict.kind === "observe" && verdict.cause === "restored") {
      await this.#keepEvidence(clusterId, known);
    } else {
      this.#told.add(identity);
    }
    return verdict;
  }

  /** What adopting these stores would change. PRECONDITION_FAILED when there are too many. */
  plan(storeIds: readonly string[]): AdoptionPlan {
    const { fence, adopted, restored } = this.#held;
    const renews = restored !== undefined;
    const wanted = new Set(storeIds.filter((id) => id !== fence.storeId && !adopted.has(id)));
    if (renews) wanted.add(fence.storeId);
    if (adopted.size + wanted.size > MAX_ADOPTED) {
      const message = `store_ids: a store takes the place of at most ${MAX_ADOPTED} others`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    return { renews, storeIds: [...wanted] };
  }

  /** Carries out a plan in one transaction; agents must register again to hear of it. */
  async adopt({ renews, storeIds }: AdoptionPlan): Promise<void> {
    const { store, orgId, clock } = this.#deps;
    const writes: Write[] = storeIds.map((id) => ({
      kind: "insert",
      key: { orgId, collection: ADOPTED, id },
      body: { adoptedAt: clock.timestamp() },
    }));
    if (renews) writes.push({ kind: "delete", key: { orgId, ...RESTORED } });
    const outcome = renews ? await store.renewStoreId(writes) : await store.apply(writes);
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", "another adoption happened at the same time; try again");
    }
    const { fence, adopted } = this.#held;
    const storeId = outcome.kind === "renewed" ? outcome.storeId : fence.storeId;
    if (renews) this.#told.clear();
    this.#held = {
      fence: { ...fence, storeId },
      adopted: new Set([...adopted, ...storeIds]),
      restored: renews ? undefined : this.#held.restored,
    };
  }

  async #keepEvidence(clusterId: string, known: KnownStore): Promise<void> {
    if (this.#held.restored !== undefined) return;
    const { store, orgId, clock } = this.#deps;
    const body: RestoredEvidence = {
      clusterId,
      knownTerm: String(known.controllerTerm),
      controllerTerm: String(this.#held.fence.controllerTerm),
      seenAt: clock.timestamp(),
    };
    // A refusal says that another registration has kept its own evidence meanwhile.
    await store.apply([{ kind: "insert", key: { orgId, ...RESTORED }, body }]);
    this.#held = { ...this.#held, restored: this.#held.restored ?? body };
  }
}
