import type { Clock } from "@berth/service-kit";
import { FleetExcuse } from "./fleet-excuse.ts";
import { SnapshotTurn, type TurnLimits } from "./snapshot-turn.ts";

/** Bounds of {@link SnapshotAdmission}. */
export interface AdmissionLimits extends TurnLimits {
  /** Agents that may send their snapshot at once. */
  readonly atOnce: number;
  /** Time between two looks at a turn, ms. */
  readonly checkMs: number;
  /** Longest suspension of the whole fleet's verdicts in one go, ms: agents that stall cannot stop them for ever. */
  readonly suspendMs: number;
}

/**
 * What `failure-model.md` asks for: 32 at once; a turn ends after 15 s without a byte, or after 30 s and a second per
 * 64 KiB that have come, which is 286 s for the longest message of 16 MiB; verdicts wait for 300 s at most.
 */
export const ADMISSION_LIMITS: AdmissionLimits = {
  atOnce: 32,
  stallMs: 15_000,
  turnMs: 30_000,
  turnMsPer64KiB: 1_000,
  checkMs: 1_000,
  suspendMs: 300_000,
};

/** An agent that has a snapshot to send. */
export interface SendingAgent {
  /** Bytes that have come on its stream. */
  readonly receivedBytes: () => number;
  /** Its last turn was taken back, so that it goes behind the others. */
  readonly isLate: boolean;
  /** Called when its turn was taken back. */
  readonly onOverdue: () => void;
}

/** One agent's place in the queue. */
export interface AdmissionTicket {
  /** Resolves when the turn comes; never when the ticket is given back before. */
  readonly admitted: Promise<void>;
  /** When the place was given back, monotonic, ms; undefined while it is held. */
  readonly leftAtMs: number | undefined;
  /** Ends the turn, or the wait for it. May be called more than once. */
  leave(): void;
}

interface Place {
  readonly agent: SendingAgent;
  admit(): void;
  timer: NodeJS.Timeout | undefined;
  leftAtMs: number | undefined;
}

/**
 * Lets a bounded number of agents send their snapshots at once, in the order in which they came; those whose last turn
 * was taken back come behind all others. While one waits or sends, its own silence says nothing about it; while
 * more come than may send at once, nobody's does.
 */
export class SnapshotAdmission {
  readonly #limits: AdmissionLimits;
  readonly #clock: Clock;
  readonly #waiting = new Set<Place>();
  /** Those that wait behind all of {@link #waiting}. */
  readonly #late = new Set<Place>();
  readonly #admitted = new Set<Place>();
  readonly #excuse: FleetExcuse;

  /** `restMs`: least time between two suspensions of the fleet's verdicts. */
  constructor(limits: AdmissionLimits & { readonly restMs: number }, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#excuse = new FleetExcuse(limits);
  }

  /** Queues an agent. */
  enter(agent: SendingAgent): AdmissionTicket {
    const turn = Promise.withResolvers<void>();
    const place: Place = {
      ...{ agent, admit: () => turn.resolve() },
      ...{ timer: undefined, leftAtMs: undefined },
    };
    (agent.isLate ? this.#late : this.#waiting).add(place);
    this.#admitNext();
    return {
      admitted: turn.promise,
      get leftAtMs() {
        return place.leftAtMs;
      },
      leave: () => this.#leave(place),
    };
  }

  /** Agents that send and agents that wait. */
  get counts(): { readonly admitted: number; readonly waiting: number; readonly limit: number } {
    const limit = this.#limits.atOnce;
    const waiting = this.#waiting.size + this.#late.size;
    return { admitted: this.#admitted.size, waiting, limit };
  }

  /**
   * From when on anybody's silence counts, on the monotonic clock; undefined while verdicts are suspended. After a
   * suspension every agent has its whole TTL again, and the next one begins `restMs` later at the earliest.
   */
  get silenceCountsFromMs(): number | undefined {
    this.#look();
    return this.#excuse.countsFromMs;
  }

  /** Gives up every place, at shutdown. */
  close(): void {
    for (const place of this.#admitted) clearTimeout(place.timer);
    this.#admitted.clear();
    this.#waiting.clear();
    this.#late.clear();
    this.#look();
  }

  #admitNext(): void {
    for (const queue of [this.#waiting, this.#late]) {
      for (const place of queue) {
        if (this.#admitted.size >= this.#limits.atOnce) break;
        queue.delete(place);
        this.#admitted.add(place);
        this.#watch(place, new SnapshotTurn(this.#limits, place.agent.receivedBytes()));
        place.admit();
      }
    }
    this.#look();
  }

  /**
   * Takes the turn back when it is over. One look counts for one interval, however late it comes: what came while this
   * process could not read is read before the next one.
   */
  #watch(place: Place, turn: SnapshotTurn): void {
    const { agent } = place;
    const { checkMs } = this.#limits;
    place.timer = setTimeout(() => {
      if (turn.goesOn(checkMs, agent.receivedBytes())) return this.#watch(place, turn);
      this.#leave(place);
      agent.onOverdue();
    }, checkMs);
    place.timer.unref();
  }

  #leave(place: Place): void {
    clearTimeout(place.timer);
    const queues = [this.#waiting, this.#late, this.#admitted];
    if (!queues.some((queue) => queue.delete(place))) return;
    place.leftAtMs = this.#clock.nowMs();
    this.#admitNext();
  }

  /** Those that had their turn and sent nothing are no crowd: they keep nobody from being heard. */
  #look(): void {
    this.#excuse.update(this.#waiting.size > 0, this.#clock.nowMs());
  }
}
