import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Event } from "@berth/proto";
import {
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  type StoredDocument,
  type Write,
} from "@berth/service-kit";
import { checkEvents } from "./check-events.ts";
import type { LinkEvent } from "./link-event.ts";
import { RepeatFilter } from "./repeat-filter.ts";

const EVENTS = "fleet_events";
const EVENT_IDS = "fleet_event_ids";
const PAGE = 200;
const SEQ_DIGITS = 16;

/** Bounds of {@link FleetEvents}. */
export interface EventLimits {
  readonly kept: number;
  /** Characters of facts that are kept. */
  readonly keptCharacters: number;
  readonly keptMs: number;
  /** Own events that wait for the store; more are dropped with a line in the log. */
  readonly waiting: number;
}

/** Events are kept for 7 days, as agents keep what they could not send. */
export const EVENT_LIMITS: EventLimits = {
  kept: 100_000,
  keptCharacters: 64 * 1024 * 1024,
  keptMs: 7 * 24 * 3_600_000,
  waiting: 1_000,
};

/** Time in which the same refusal of the same cluster is one event, ms: refused agents try again and again. */
const REPEAT_MS = 60_000;

interface EventBody {
  readonly eventId: string;
  readonly clusterId: string;
  readonly kind: string;
  readonly key: string;
  /** JSON object as text, numbers as the agent wrote them. */
  readonly factsJson: string;
  /** ISO 8601: when it happened, as far as the agent's clock tells. */
  readonly at: string;
}

/** An event as it is listed. */
export interface FleetEvent extends EventBody {
  /** Place in the order of arrival, to page on. */
  readonly seq: string;
  /** ISO 8601. */
  readonly receivedAt: string;
}

/** What {@link openFleetEvents} needs. */
export interface FleetEventsDeps {
  readonly store: DocumentStore;
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits?: EventLimits;
}

/** Opens the durable events of the fleet. */
export async function openFleetEvents(deps: FleetEventsDeps): Promise<FleetEvents> {
  const events = new FleetEvents(deps);
  await events.load();
  return events;
}

/** What happened on the clusters and on the links to them, in the order of arrival. */
export class FleetEvents {
  readonly #deps: FleetEventsDeps;
  readonly #limits: EventLimits;
  readonly #repeats: RepeatFilter;
  #seq = 0;
  #stored = 0;
  #characters = 0;
  /** Own events that wait for the store. */
  #own: EventBody[] = [];
  #writing: Promise<void> | undefined;

  constructor(deps: FleetEventsDeps) {
    this.#deps = deps;
    this.#limits = deps.limits ?? EVENT_LIMITS;
    this.#repeats = new RepeatFilter(REPEAT_MS, deps.clock);
  }

  /** Counts what is there; called once. */
  async load(): Promise<void> {
    for await (const { id, body } of this.#all()) {
      this.#seq = Number(id);
      this.#stored += 1;
      this.#characters += body.factsJson.length;
    }
  }

  /**
   * Takes in events of a cluster's agent, each id once; durable when it resolves. INVALID_ARGUMENT names a
   * bad field.
   */
  async take(clusterId: string, events: readonly Event[]): Promise<void> {
    checkEvents(events);
    const nowMs = Date.parse(this.#deps.clock.timestamp());
    const bodies = events.map(({ eventId, kind, key, json, ageMs }) => {
      const at = new Date(Math.max(0, nowMs - Number(ageMs))).toISOString();
      return { eventId: eventId.toLowerCase(), clusterId, kind, key, factsJson: json, at };
    });
    await this.#insert(bodies);
  }

  /** Records an event of the control-plane's own; a failure is logged. */
  record({ clusterId, kind, facts }: LinkEvent): void {
    const factsJson = JSON.stringify(facts);
    const isRefusal = kind === "agent_refused";
    if (isRefusal && this.#repeats.isRepeat(JSON.stringify([clusterId, factsJson]))) return;
    const { clock, logger } = this.#deps;
    if (this.#own.length >= this.#limits.waiting) {
      logger.error("an event was dropped", { kind, cluster_id: clusterId });
      return;
    }
    const key = `cluster/${clusterId}`;
    this.#own.push({
      ...{ eventId: randomUUID(), clusterId, kind, key, factsJson },
      at: clock.timestamp(),
    });
    this.#writing ??= this.#writeOwn();
  }

  /** Events that fit, newest first; `before` is a seq of a former answer. */
  async list(query: {
    readonly clusterId?: string | undefined;
    readonly kind?: string | undefined;
    readonly before?: string | undefined;
    readonly limit: number;
  }): Promise<readonly FleetEvent[]> {
    const events: FleetEvent[] = [];
    const after = query.before?.padStart(SEQ_DIGITS, "0");
    for await (const found of this.#all({ descending: true, ...(after ? { after } : {}) })) {
      if (events.length >= query.limit) break;
      if (query.clusterId !== undefined && found.body.clusterId !== query.clusterId) continue;
      if (query.kind !== undefined && found.body.kind !== query.kind) continue;
      events.push({ ...found.body, seq: String(Number(found.id)), receivedAt: found.createdAt });
    }
    return events;
  }

  /** Forgets events beyond their time or the bounds, oldest first. Called by a timer. */
  async prune(): Promise<void> {
    const { clock } = this.#deps;
    const oldest = Date.parse(clock.timestamp()) - this.#limits.keptMs;
    let batch: StoredDocument<EventBody>[] = [];
    let [count, characters] = [this.#stored, this.#characters];
    for await (const found of this.#all()) {
      const isTooMany = count > this.#limits.kept || characters > this.#limits.keptCharacters;
      if (!isTooMany && Date.parse(found.createdAt) >= oldest) break;
      batch.push(found);
      count -= 1;
      characters -= found.body.factsJson.length;
      if (batch.length === PAGE) {
        await this.#delete(batch);
        batch = [];
      }
    }
    if (batch.length > 0) await this.#delete(batch);
  }

  /** Resolves when the own events so far are written, at shutdown. */
  async close(): Promise<void> {
    await this.#writing;
  }

  /** Many agents may come back at once: what has gathered goes in one transaction. */
  async #writeOwn(): Promise<void> {
    // Not in the turn of whoever tells it: the others of the same moment gather first.
    await nextTurn();
    while (this.#own.length > 0) {
      const batch = this.#own.slice(0, PAGE);
      this.#own = this.#own.slice(PAGE);
      try {
        await this.#insert(batch);
      } catch (err) {
        this.#deps.logger.error("events were not written", { count: batch.length, err });
      }
    }
    this.#writing = undefined;
  }

  async #insert(bodies: readonly EventBody[]): Promise<void> {
    const { store } = this.#deps;
    let rest = bodies;
    while (rest.length > 0) {
      rest = await this.#unknown(rest);
      const writes = rest.flatMap((body) => this.#writesOf(body));
      const outcome = await store.apply(writes);
      if (outcome.kind === "applied") {
        this.#stored += rest.length;
        this.#characters += rest.reduce((sum, { factsJson }) => sum + factsJson.length, 0);
        return;
      }
      if (outcome.key.collection !== EVENT_IDS) {
        throw new BerthError("INTERNAL", `an event was not written: ${outcome.why}`);
      }
      // Another session of the same cluster has written one of them meanwhile: look again.
    }
  }

  /** Those that were not taken in before, each once. */
  async #unknown(bodies: readonly EventBody[]): Promise<readonly EventBody[]> {
    const unknown = new Map<string, EventBody>();
    for (const body of bodies) {
      const found = await this.#deps.store.get(this.#idKey(body));
      if (found === undefined) unknown.set(body.eventId, body);
    }
    return [...unknown.values()];
  }

  #writesOf(body: EventBody): readonly Write[] {
    this.#seq += 1;
    const id = String(this.#seq).padStart(SEQ_DIGITS, "0");
    return [
      { kind: "insert", key: this.#idKey(body), body: id },
      { kind: "insert", key: { orgId: this.#deps.orgId, collection: EVENTS, id }, body },
    ];
  }

  async #delete(batch: readonly StoredDocument<EventBody>[]): Promise<void> {
    const outcome = await this.#deps.store.apply(
      batch.flatMap(({ orgId, collection, id, body }): Write[] => [
        { kind: "delete", key: { orgId, collection, id } },
        { kind: "delete", key: this.#idKey(body) },
      ]),
    );
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `old events were not removed: ${outcome.why}`);
    }
    this.#stored -= batch.length;
    this.#characters -= batch.reduce((sum, { body }) => sum + body.factsJson.length, 0);
  }

  #idKey({ clusterId, eventId }: EventBody) {
    return {
      orgId: this.#deps.orgId,
      collection: EVENT_IDS,
      id: `${clusterId}/${eventId}`,
    };
  }

  async *#all(
    options: { readonly descending?: boolean; readonly after?: string } = {},
  ): AsyncGenerator<StoredDocument<EventBody>> {
    const { store, orgId } = this.#deps;
    let { after } = options;
    const { descending = false } = options;
    for (;;) {
      const page = await store.list<EventBody>(
        { orgId, collection: EVENTS },
        { limit: PAGE, descending, ...(after === undefined ? {} : { after }) },
      );
      yield* page;
      after = page.at(-1)?.id;
      if (page.length < PAGE) return;
    }
  }
}
