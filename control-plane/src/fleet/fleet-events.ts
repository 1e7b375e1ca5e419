import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Event } from "@berth/proto";
import type { Clock, DocumentStore, Logger } from "@berth/service-kit";
import { checkEvents } from "./check-events.ts";
import { type ArchiveLimits, EventArchive, type EventBody } from "./event-archive.ts";
import type { LinkEvent } from "./link-event.ts";
import { RepeatFilter } from "./repeat-filter.ts";

/** Own events that are written in one transaction. */
const BATCH = 200;

/** Bounds of {@link FleetEvents}. */
export interface EventLimits extends ArchiveLimits {
  /** Own events that wait for the store; more are dropped with a line in the log. */
  readonly waiting: number;
}

/**
 * Events are kept for 7 days, as agents keep what they could not send. A cluster's share is a tenth of
 * all: ten that talk without end have to come together to push out what others tell.
 */
export const EVENT_LIMITS: EventLimits = {
  kept: 100_000,
  keptCharacters: 64 * 1024 * 1024,
  keptMs: 7 * 24 * 3_600_000,
  keptOfCluster: 10_000,
  keptCharactersOfCluster: 6_710_886,
  waiting: 1_000,
};

/** Time in which the same refusal of the same cluster is one event, ms: refused agents try again and again. */
const REPEAT_MS = 60_000;

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
  readonly #archive: EventArchive;
  readonly #repeats: RepeatFilter;
  /** Own events that wait for the store. */
  #own: EventBody[] = [];
  #writing: Promise<void> | undefined;
  /** The last events of an agent could not be written. */
  #isFailing = false;

  constructor(deps: FleetEventsDeps) {
    this.#deps = deps;
    this.#limits = deps.limits ?? EVENT_LIMITS;
    this.#archive = new EventArchive({ ...deps, limits: this.#limits });
    this.#repeats = new RepeatFilter(REPEAT_MS, deps.clock);
  }

  /** Counts what is there; called once. */
  load(): Promise<void> {
    return this.#archive.load();
  }

  /**
   * Takes in events of a cluster's agent, each id once; durable when it resolves. INVALID_ARGUMENT names a
   * bad field, UNAVAILABLE says why the store takes none now (logged at the first one). Beyond the cluster's share its own oldest go, beyond the bounds of all the oldest of all.
   */
  async take(clusterId: string, events: readonly Event[]): Promise<void> {
    checkEvents(events);
    const nowMs = Date.parse(this.#deps.clock.timestamp());
    const bodies = events.map(({ eventId, kind, key, json, ageMs }) => {
      const at = new Date(Math.max(0, nowMs - Number(ageMs))).toISOString();
      return { eventId: eventId.toLowerCase(), clusterId, kind, key, factsJson: json, at };
    });
    try {
      await this.#archive.insert(bodies);
      this.#isFailing = false;
    } catch (err) {
      if (!this.#isFailing) this.#deps.logger.error("events of agents are not written", { err });
      this.#isFailing = true;
      throw err;
    }
  }

  /** Records an event of the control-plane's own; a failure is logged. */
  record({ clusterId, kind, facts, key = `cluster/${clusterId}` }: LinkEvent): void {
    const factsJson = JSON.stringify(facts);
    const isRefusal = kind === "agent_refused";
    if (isRefusal && this.#repeats.isRepeat(JSON.stringify([clusterId, factsJson]))) return;
    const { clock, logger } = this.#deps;
    if (this.#own.length >= this.#limits.waiting) {
      logger.error("an event was dropped", { kind, cluster_id: clusterId });
      return;
    }
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
    const position = query.before === undefined ? {} : { after: query.before };
    for await (const found of this.#archive.all({ descending: true, ...position })) {
      if (events.length >= query.limit) break;
      if (query.clusterId !== undefined && found.body.clusterId !== query.clusterId) continue;
      if (query.kind !== undefined && found.body.kind !== query.kind) continue;
      events.push({ ...found.body, seq: String(Number(found.id)), receivedAt: found.createdAt });
    }
    return events;
  }

  /** Forgets events beyond their time or the bounds, oldest first. Called by a timer. */
  prune(): Promise<void> {
    return this.#archive.prune();
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
      const batch = this.#own.slice(0, BATCH);
      this.#own = this.#own.slice(BATCH);
      try {
        await this.#archive.insert(batch);
      } catch (err) {
        this.#deps.logger.error("events were not written", { count: batch.length, err });
      }
    }
    this.#writing = undefined;
  }
}
