import { BerthError, type Clock, type DocumentStore, Serial, type Write } from "@berth/service-kit";
import {
  judgeKnownStore,
  type KnownStore,
  type StoreFence,
  type StoreVerdict,
} from "./store-verdict.ts";
import { openTermBook, type TermBook } from "./term-book.ts";

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
  /** Whether this store gets a new id: it was restored, or an agent's claim contradicts it. */
  readonly renews: boolean;
  /** Store ids whose place this one takes from now on, the former own id included. */
  readonly storeIds: readonly string[];
}

/**
 * Opens what the control-plane's store knows of itself and of the stores that it has taken the place of. Begins
 * a stretch of its own for this start's term.
 */
export async function openFleetStores(deps: FleetStoresDeps): Promise<FleetStores> {
  const { store, orgId } = deps;
  const adopted = await store.list({ orgId, collection: ADOPTED });
  const restored = await store.get<RestoredEvidence>({ orgId, ...RESTORED });
  return new FleetStores(deps, {
    storeId: await store.storeId(),
    terms: await openTermBook(deps),
    adopted: new Set(adopted.map(({ id }) => id)),
    restored: restored?.body,
  });
}

interface Held {
  readonly storeId: string;
  readonly terms: TermBook;
  readonly adopted: ReadonlySet<string>;
  readonly restored: RestoredEvidence | undefined;
}

/** The identity of the control-plane's store, and which other stores it has taken the place of. */
export class FleetStores {
  readonly #deps: FleetStoresDeps;
  readonly #writes = new Serial();
  #held: Held;

  constructor(deps: FleetStoresDeps, held: Held) {
    this.#deps = deps;
    this.#held = held;
  }

  /** Store id and term as they are now. */
  get fence(): StoreFence {
    const { storeId, terms } = this.#held;
    return { storeId, controllerTerm: this.#deps.controllerTerm, termId: terms.termId };
  }

  /** Ids of the stores that this one has taken the place of. */
  get adoptedStoreIds(): readonly string[] {
    return [...this.#held.adopted];
  }

  /** Why this store counts as restored from an older copy; undefined when it does not. */
  get restored(): RestoredEvidence | undefined {
    return this.#held.restored;
  }

  /** Begins a new stretch of the term, durable when it resolves; the fence has its id from then on. */
  beginStretch(): Promise<void> {
    return this.#writes.run(() => this.#held.terms.begin());
  }

  /**
   * Begins stretches of the term, as many as are asked for, and gives their fences once they are durable, and what
   * `beside` writes of them too; nobody is told of them before.
   */
  beginStretches(
    count: number,
    beside: (fences: readonly StoreFence[]) => Promise<void>,
  ): Promise<readonly StoreFence[]> {
    return this.#writes.run(async () => {
      const { terms } = this.#held;
      const now = this.fence;
      const fences = terms.next(count).map((termId) => ({ ...now, termId }));
      await Promise.all([terms.begin(count), beside(fences)]);
      return fences;
    });
  }

  /**
   * Whether an agent was told a stretch of the term that is no older than the one with this id: of what was given
   * under that id it knows, unless it was lost on its way.
   */
  isKnownTo({ termId }: KnownStore, offeredUnder: string): boolean {
    return this.#held.terms.reaches(termId, offeredUnder);
  }

  /**
   * Judges what an agent that registers knew. That the store was restored is durable before it resolves: the
   * agent that had the proof may never come back.
   */
  async judge(clusterId: string, known: KnownStore): Promise<StoreVerdict> {
    const { adopted, terms } = this.#held;
    const verdict = judgeKnownStore({ fence: this.fence, adopted, known, terms });
    if (verdict.kind === "observe" && verdict.cause === "restored") {
      await this.#writes.run(() => this.#keepEvidence(clusterId, known));
    }
    return verdict;
  }

  /**
   * What adopting these stores would change; `isContradicted`: an agent that claims what this store never
   * gave shall be obeyed by. PRECONDITION_FAILED when there are too many.
   */
  plan(storeIds: readonly string[], isContradicted = false): AdoptionPlan {
    const { storeId, adopted, restored } = this.#held;
    const renews = restored !== undefined || isContradicted;
    const wanted = new Set(storeIds.filter((id) => id !== storeId && !adopted.has(id)));
    if (renews) wanted.add(storeId);
    if (adopted.size + wanted.size > MAX_ADOPTED) {
      const message = `store_ids: a store takes the place of at most ${MAX_ADOPTED} others`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    return { renews, storeIds: [...wanted] };
  }

  /** Carries out a plan in one transaction; agents must register again to hear of it. */
  adopt(plan: AdoptionPlan): Promise<void> {
    return this.#writes.run(() => this.#adopt(plan));
  }

  async #adopt({ renews, storeIds }: AdoptionPlan): Promise<void> {
    const { store, orgId, clock } = this.#deps;
    const { terms, restored } = this.#held;
    const writes: Write[] = storeIds.map((id) => ({
      kind: "insert",
      key: { orgId, collection: ADOPTED, id },
      body: { adoptedAt: clock.timestamp() },
    }));
    const evidence: Write = { kind: "delete", key: { orgId, ...RESTORED } };
    const renewal = terms.renewal();
    const outcome = renews
      ? await store.renewStoreId([...writes, ...(restored ? [evidence] : []), ...renewal.writes])
      : await store.apply(writes);
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", "another adoption happened at the same time; try again");
    }
    const adopted = new Set([...this.#held.adopted, ...storeIds]);
    if (outcome.kind === "renewed") {
      renewal.commit();
      this.#held = { terms, storeId: outcome.storeId, adopted, restored: undefined };
    } else {
      this.#held = { ...this.#held, adopted };
    }
  }

  async #keepEvidence(clusterId: string, known: KnownStore): Promise<void> {
    // What an adoption has answered meanwhile is no evidence any more.
    if (this.#held.restored !== undefined || known.storeId !== this.#held.storeId) return;
    const { store, orgId, clock } = this.#deps;
    const body: RestoredEvidence = {
      clusterId,
      knownTerm: String(known.controllerTerm),
      controllerTerm: String(this.#deps.controllerTerm),
      seenAt: clock.timestamp(),
    };
    await store.apply([{ kind: "insert", key: { orgId, ...RESTORED }, body }]);
    this.#held = { ...this.#held, restored: body };
  }
}
