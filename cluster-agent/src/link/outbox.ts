import { randomUUID } from "node:crypto";
import {
  allPages,
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  toBerthError,
  type Write,
} from "@berth/service-kit";
import { checkEvent, type OutboxEvent } from "./check-event.ts";
import {
  EVENTS_DROPPED,
  OUTBOX_LIMITS,
  OutboxIndex,
  type OutboxItem,
  type OutboxLimits,
} from "./outbox-index.ts";
import { Wakeup } from "./wakeup.ts";

const COLLECTION = "outbox";
const SEQ_DIGITS = 16;
const BATCH = { events: 500, characters: 256 * 1024 } as const;
/** Events that wait for the store; more count as dropped. */
const MAX_WAITING = 1_000;

/** An event as it is sent. */
export interface OutgoingEvent {
  readonly eventId: string;
  readonly kind: string;
  readonly key: string;
  readonly json: string;
  /** Age when the batch was taken, ms. */
  readonly ageMs: number;
}

/** Events on their way. */
export interface OutboxBatch {
  readonly events: readonly OutgoingEvent[];
  readonly seqs: readonly number[];
}

interface EventBody {
  readonly eventId: string;
  readonly kind: string;
  readonly key: string;
  readonly json: string;
  /** ISO 8601: over a restart the age is counted on the wall clock. */
  readonly at: string;
}

/** What {@link openOutbox} needs. */
export interface OutboxDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: OutboxLimits;
}

/** Opens the durable outbox; what was not acknowledged before is sent again. */
export async function openOutbox(deps: OutboxDeps): Promise<Outbox> {
  const outbox = new Outbox(deps);
  await outbox.load();
  return outbox;
}

/**
 * Events on their way to the control-plane: durable, in order, kept until acknowledged. Of the events of
 * one kind and key that were not sent yet only the newest is kept; what does not fit drops the oldest,
 * which is told as an event of its own.
 */
export class Outbox {
  readonly #deps: OutboxDeps;
  readonly #index: OutboxIndex;
  readonly #added = new Wakeup();
  /** Changes of the store, one after the other. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #seq = 0;
  /** Dropped events by kind that no stored event tells of yet. */
  #dropped = new Map<string, number>();
  /** Events that were acknowledged, but are still in the store. */
  readonly #acknowledged = new Set<number>();

  constructor(deps: OutboxDeps) {
    this.#deps = deps;
    this.#index = new OutboxIndex(deps.limits ?? OUTBOX_LIMITS);
  }

  /** Reads what is there; called once. */
  async load(): Promise<void> {
    const { clock, store, orgId } = this.#deps;
    const [nowMs, wallMs] = [clock.nowMs(), Date.parse(clock.timestamp())];
    for await (const { id, body } of allPages<EventBody>(store, {
      orgId,
      collection: COLLECTION,
    })) {
      this.#seq = Number(id);
      const atMs = nowMs - Math.max(0, wallMs - Date.parse(body.at));
      const { kind, key } = body;
      this.#index.add({ seq: this.#seq, kind, key, characters: body.json.length, atMs });
    }
  }

  /** Number of events that are not acknowledged. */
  get size(): number {
    return this.#index.size;
  }

  /** Whether {@link nextBatch} has something to give. */
  get hasUnsent(): boolean {
    return this.#index.hasUnsent;
  }

  /**
   * Adds an event; durable when it resolves. INVALID_ARGUMENT for an event that the control-plane would not
   * take. One that finds too many before it is dropped, and counted.
   */
  async add(event: OutboxEvent): Promise<void> {
    const json = JSON.stringify(event.facts);
    checkEvent(event, json);
    if (this.#waiting >= MAX_WAITING) return this.#countDropped(event.kind, 1);
    const atMs = this.#deps.clock.nowMs();
    const at = this.#deps.clock.timestamp();
    this.#waiting += 1;
    try {
      await this.#inTurn(() => this.#insert({ ...event, json, at, atMs }));
    } finally {
      this.#waiting -= 1;
    }
    this.#added.wake();
  }

  /** {@link add} for callers that cannot wait: what the store does not take is logged, and counts as dropped. */
  tell(event: OutboxEvent): void {
    this.add(event).catch((err: unknown) => {
      if (toBerthError(err).reason === "UNAVAILABLE") this.#countDropped(event.kind, 1);
      this.#deps.logger.error("an event was not kept", { kind: event.kind, key: event.key, err });
    });
  }

  /** The oldest events that are not on their way; undefined when there are none. */
  async nextBatch(): Promise<OutboxBatch | undefined> {
    return await this.#inTurn(async () => {
      const items = this.#index.take(BATCH.events, BATCH.characters);
      if (items.length === 0) return undefined;
      const nowMs = this.#deps.clock.nowMs();
      const events: OutgoingEvent[] = [];
      for (const { seq, atMs } of items) {
        const found = await this.#deps.store.get<EventBody>(this.#key(seq));
        if (found === undefined) throw new BerthError("INTERNAL", `event ${seq} has gone`);
        const { eventId, kind, key, json } = found.body;
        const ageMs = Math.max(0, Math.round(nowMs - atMs));
        events.push({ eventId, kind, key, json, ageMs });
      }
      return { events, seqs: items.map(({ seq }) => seq) };
    });
  }

  /**
   * Forgets a batch that was acknowledged. A store that does not let it, with a full disk, is asked again with the
   * next batch: the stream goes on meanwhile, and at worst the next one sends them again.
   */
  async forget({ seqs }: OutboxBatch): Promise<void> {
    await this.#inTurn(async () => {
      for (const seq of seqs) this.#acknowledged.add(seq);
      // The stream after a broken one may have sent, and forgotten, some of them already.
      const held = [...this.#acknowledged].filter((seq) => this.#index.has(seq));
      try {
        await this.#apply(held.map((seq) => ({ kind: "delete", key: this.#key(seq) })));
      } catch (err) {
        const events = held.length;
        this.#deps.logger.error("events that were taken in cannot be forgotten", { events, err });
        return;
      }
      this.#acknowledged.clear();
      for (const seq of held) this.#index.remove(seq);
    });
  }

  /** A batch was not taken in: it is to be sent again, before what is newer. */
  release({ seqs }: OutboxBatch): void {
    this.#index.release(seqs);
  }

  /** A stream has ended: what it did not see acknowledged is sent again by the next one. */
  rewind(): void {
    this.#index.rewind();
  }

  /** Resolves when an event is added, or when the signal is aborted. */
  changed(signal: AbortSignal): Promise<void> {
    return this.#added.wait(signal);
  }

  async #insert(event: OutboxEvent & { json: string; at: string; atMs: number }): Promise<void> {
    const { kind, key, json, at, atMs } = event;
    const gone = [...this.#index.overflow(json.length, atMs)];
    const dropped = [...gone.map((item): [string, number] => [item.kind, 1]), ...this.#dropped];
    const replaced = this.#index.replaced(kind, key);
    if (replaced !== undefined && !gone.includes(replaced)) gone.push(replaced);
    const added = [this.#item({ kind, key, json, at, atMs })];
    if (dropped.length > 0) {
      const former = this.#index.replaced(EVENTS_DROPPED, COLLECTION);
      const facts = await this.#dropsFacts(dropped, former);
      added.push(this.#item({ kind: EVENTS_DROPPED, key: COLLECTION, json: facts, at, atMs }));
      if (former !== undefined) gone.push(former);
    }
    const counted = this.#dropped;
    this.#dropped = new Map();
    try {
      await this.#apply([
        ...gone.map(({ seq }): Write => ({ kind: "delete", key: this.#key(seq) })),
        ...added.map(({ item, body }): Write => {
          return { kind: "insert", key: this.#key(item.seq), body };
        }),
      ]);
    } catch (thrown) {
      for (const [name, count] of counted) this.#countDropped(name, count);
      throw thrown;
    }
    for (const { seq } of gone) this.#index.remove(seq);
    for (const { item } of added) this.#index.add(item);
  }

  /** Facts of the event that tells of drops, with the counts of the unsent one before it. */
  async #dropsFacts(
    dropped: readonly (readonly [string, number])[],
    former: OutboxItem | undefined,
  ): Promise<string> {
    const told = former && (await this.#deps.store.get<EventBody>(this.#key(former.seq)));
    const kinds = new Map<string, number>();
    for (const [kind, count] of [...dropped, ...countsOf(told?.body.json)]) {
      kinds.set(kind, (kinds.get(kind) ?? 0) + count);
    }
    const total = [...kinds.values()].reduce((sum, count) => sum + count, 0);
    return JSON.stringify({ total, kinds: Object.fromEntries(kinds) });
  }

  #item(event: Omit<EventBody, "eventId"> & { readonly atMs: number }) {
    const { kind, key, json, at, atMs } = event;
    this.#seq += 1;
    const item: OutboxItem = { seq: this.#seq, kind, key, characters: json.length, atMs };
    const body: EventBody = { eventId: randomUUID(), kind, key, json, at };
    return { item, body };
  }

  #countDropped(kind: string, count: number): void {
    this.#dropped.set(kind, (this.#dropped.get(kind) ?? 0) + count);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    // The next one has its turn whatever became of this one; whoever waits for this one hears of it.
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #apply(writes: readonly Write[]): Promise<void> {
    const outcome = await this.#deps.store.apply(writes);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `the outbox was not written: ${outcome.why}`);
    }
  }

  #key(seq: number) {
    const id = String(seq).padStart(SEQ_DIGITS, "0");
    return { orgId: this.#deps.orgId, collection: COLLECTION, id };
  }
}

function countsOf(json: string | undefined): [string, number][] {
  const facts = JSON.parse(json ?? "{}") as { readonly kinds?: Readonly<Record<string, number>> };
  return Object.entries(facts.kinds ?? {});
}
