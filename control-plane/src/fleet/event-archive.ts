import {
  allPages,
  BerthError,
  type Clock,
  type DocumentStore,
  Serial,
  type StoredDocument,
  type Write,
} from "@berth/service-kit";
import { isOwnKind } from "./check-events.ts";
import { EventShares } from "./event-shares.ts";

const EVENTS = "fleet_events";
const EVENT_IDS = "fleet_event_ids";
/** Events that are removed in one transaction. */
const PAGE = 200;
/** Events that are read at a time to make room: mostly a few have to go. */
const OLDEST = 20;
const SEQ_DIGITS = 16;

/** Bounds of {@link EventArchive}; beyond them the oldest go. */
export interface ArchiveLimits {
  readonly kept: number;
  /** Characters of facts that are kept. */
  readonly keptCharacters: number;
  readonly keptMs: number;
  /**
   * Events of one cluster that are kept: as many of those that its agent tells, and as many of those that
   * the control-plane tells of it, so that no agent can push out what is told of it.
   */
  readonly keptOfCluster: number;
  /** Characters of facts of one cluster that are kept, counted alike. */
  readonly keptCharactersOfCluster: number;
}

/** An event as it is kept. */
export interface EventBody {
  readonly eventId: string;
  readonly clusterId: string;
  readonly kind: string;
  readonly key: string;
  /** JSON object as text, numbers as the agent wrote them. */
  readonly factsJson: string;
  /** ISO 8601: when it happened, as far as the agent's clock tells. */
  readonly at: string;
}

type StoredEvent = StoredDocument<EventBody>;

/** What {@link EventArchive} needs. */
export interface EventArchiveDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly limits: ArchiveLimits;
}

/**
 * The durable events in the order of their arrival, each id of a cluster once. The bounds hold whenever an
 * insertion has resolved; insertions under way at the same moment may exceed them by what they bring.
 */
export class EventArchive {
  readonly #deps: EventArchiveDeps;
  readonly #shares: EventShares;
  /** Removals: two at once would both remove the same events. */
  readonly #removals = new Serial();
  /** Accounts that may hold more than their share. */
  readonly #grown = new Set<string>();
  #seq = 0;

  constructor(deps: EventArchiveDeps) {
    const { limits } = deps;
    this.#deps = deps;
    this.#shares = new EventShares({
      kept: limits.kept,
      keptCharacters: limits.keptCharacters,
      keptOfAccount: limits.keptOfCluster,
      keptCharactersOfAccount: limits.keptCharactersOfCluster,
    });
  }

  /** Counts what is there; called once. */
  async load(): Promise<void> {
    for await (const { id, body } of this.all()) {
      this.#seq = Number(id);
      this.#shares.add(accountOf(body), this.#seq, body.factsJson.length);
    }
  }

  /** Every event in the order of arrival, or the reverse; those behind the number `after` only. */
  all(options: { readonly descending?: boolean; readonly after?: string } = {}) {
    const { store, orgId } = this.#deps;
    const { after, descending = false } = options;
    const position = after === undefined ? {} : { after: after.padStart(SEQ_DIGITS, "0") };
    return allPages<EventBody>(store, { orgId, collection: EVENTS }, { descending, ...position });
  }

  /** Keeps events that are not kept yet; durable, and within the bounds, when it resolves. */
  async insert(bodies: readonly EventBody[]): Promise<void> {
    const { store } = this.#deps;
    let rest = await this.#unknown(bodies);
    while (rest.length > 0) {
      const first = this.#seq + 1;
      this.#seq += rest.length;
      const outcome = await store.apply(
        rest.flatMap((body, index) => this.#insertsOf(body, first + index)),
      );
      if (outcome.kind === "applied") {
        for (const [index, body] of rest.entries()) {
          this.#shares.add(accountOf(body), first + index, body.factsJson.length);
          this.#grown.add(accountOf(body));
        }
        await this.#removals.run(() => this.#removeBeyondBounds());
        return;
      }
      if (outcome.key.collection !== EVENT_IDS) {
        throw new BerthError("INTERNAL", `an event was not written: ${outcome.why}`);
      }
      // Another session of the same cluster has written one of them meanwhile: look again.
      rest = await this.#unknown(rest);
    }
  }

  /** Forgets events beyond their time or the bounds, oldest first. */
  prune(): Promise<void> {
    return this.#removals.run(async () => {
      await this.#removeOld();
      for (const account of this.#shares.names) this.#grown.add(account);
      await this.#removeBeyondBounds();
    });
  }

  async #removeOld(): Promise<void> {
    const { clock, limits } = this.#deps;
    const oldest = Date.parse(clock.timestamp()) - limits.keptMs;
    let batch: StoredEvent[] = [];
    for await (const found of this.all()) {
      if (Date.parse(found.createdAt) >= oldest) break;
      batch.push(found);
      if (batch.length < PAGE) continue;
      await this.#remove(batch);
      batch = [];
    }
    if (batch.length > 0) await this.#remove(batch);
  }

  async #removeBeyondBounds(): Promise<void> {
    // Every share comes before the bounds of all, or others would lose events for one that goes anyway.
    for (const account of this.#grown) {
      this.#grown.delete(account);
      const seqs = this.#shares.beyondShare(account);
      for (let from = 0; from < seqs.length; from += PAGE) {
        await this.#remove(await this.#found(seqs.slice(from, from + PAGE)));
      }
      for (const seq of seqs) this.#shares.remove(account, seq);
    }
    const { store, orgId } = this.#deps;
    while (this.#shares.isOver()) {
      const page = await store.list<EventBody>({ orgId, collection: EVENTS }, { limit: OLDEST });
      if (page.length === 0) return;
      let characters = 0;
      const kept = page.findIndex(({ body }, index) => {
        const isEnough = !this.#shares.isOver({ count: index, characters });
        characters += body.factsJson.length;
        return isEnough;
      });
      await this.#remove(kept < 0 ? page : page.slice(0, kept));
    }
  }

  async #found(seqs: readonly number[]): Promise<readonly StoredEvent[]> {
    const { store } = this.#deps;
    const found = await Promise.all(seqs.map((seq) => store.get<EventBody>(this.#key(seq))));
    return found.filter((event) => event !== undefined);
  }

  async #remove(events: readonly StoredEvent[]): Promise<void> {
    const outcome = await this.#deps.store.apply(
      events.flatMap(({ orgId, collection, id, body }): Write[] => [
        { kind: "delete", key: { orgId, collection, id } },
        { kind: "delete", key: this.#idKey(body) },
      ]),
    );
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `old events were not removed: ${outcome.why}`);
    }
    for (const { id, body } of events) this.#shares.remove(accountOf(body), Number(id));
  }

  /** Those that were not taken in before, each once. */
  async #unknown(bodies: readonly EventBody[]): Promise<readonly EventBody[]> {
    const unknown = new Map<string, EventBody>();
    for (const body of bodies) {
      const found = await this.#deps.store.get(this.#idKey(body));
      if (found === undefined) unknown.set(`${body.clusterId}/${body.eventId}`, body);
    }
    return [...unknown.values()];
  }

  #insertsOf(body: EventBody, seq: number): readonly Write[] {
    const key = this.#key(seq);
    return [
      { kind: "insert", key: this.#idKey(body), body: key.id },
      { kind: "insert", key, body },
    ];
  }

  #key(seq: number) {
    const id = String(seq).padStart(SEQ_DIGITS, "0");
    return { orgId: this.#deps.orgId, collection: EVENTS, id };
  }

  #idKey({ clusterId, eventId }: EventBody) {
    const { orgId } = this.#deps;
    return { orgId, collection: EVENT_IDS, id: `${clusterId}/${eventId}` };
  }
}

/** Whose share an event counts to. */
function accountOf({ kind, clusterId }: EventBody): string {
  return `${isOwnKind(kind) ? "control-plane" : "agent"}/${clusterId}`;
}
