import type { Clock } from "@berth/service-kit";
import { FleetExcuse } from "./fleet-excuse.ts";

/** Bounds of {@link SnapshotAdmission}. */
export interface AdmissionLimits {
  /** Agents that may send their snapshot at once. */
  readonly atOnce: number;
  /** Longest turn of an empty snapshot, ms. */
  readonly turnMs: number;
  /** How much longer a turn is for each 64 KiB of the snapshot that is expected, ms. */
  readonly turnMsPer64KiB: number;
  /** Longest suspension of the whole fleet's verdicts in one go, ms: agents that stall cannot stop them for ever. */
  readonly suspendMs: number;
}

/**
 * What `failure-model.md` asks for: 32 at once; a turn of 30 s, and a second per 64 KiB, which takes 286 s for the
 * longest document of 16 MiB; verdicts wait for 300 s at most.
 */
export const ADMISSION_LIMITS: AdmissionLimits = {
  atOnce: 32,
  turnMs: 30_000,
  turnMsPer64KiB: 1_000,
  suspendMs: 300_000,
};

const SIZE_STEP_BYTES = 64 * 1024;

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
  admit(): void;
  readonly onOverdue: () => void;
  readonly turnMs: number;
  timer: NodeJS.Timeout | undefined;
  leftAtMs: number | undefined;
}

/**
 * Lets a bounded number of agents send their snapshots at once, in the order in which they came. While one waits
 * or sends, its own silence says nothing about it; while more come than may send at once, nobody's does.
 */
export class SnapshotAdmission {
  readonly #limits: AdmissionLimits;
  readonly #clock: Clock;
  readonly #waiting = new Set<Place>();
  readonly #admitted = new Set<Place>();
  readonly #excuse: FleetExcuse;

  /** `restMs`: least time between two suspensions of the fleet's verdicts. */
  constructor(limits: AdmissionLimits & { readonly restMs: number }, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#excuse = new FleetExcuse(limits);
  }

  /**
   * Queues an agent that has this much to send. `onOverdue` is called when its turn took too long, after it has been
   * taken back.
   */
  enter(onOverdue: () => void, expectedBytes: number): AdmissionTicket {
    const turn = Promise.withResolvers<void>();
    const steps = Math.ceil(expectedBytes / SIZE_STEP_BYTES);
    const place: Place = {
      admit: () => turn.resolve(),
      onOverdue,
      turnMs: this.#limits.turnMs + steps * this.#limits.turnMsPer64KiB,
      ...{ timer: undefined, leftAtMs: undefined },
    };
    this.#waiting.add(place);
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
    return { admitted: this.#admitted.size, waiting: this.#waiting.size, limit };
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
    this.#look();
  }

  #admitNext(): void {
    for (const place of this.#waiting) {
      if (this.#admitted.size >= this.#limits.atOnce) break;
      this.#waiting.delete(place);
      this.#admitted.add(place);
      place.timer = setTimeout(() => {
        this.#leave(place);
        place.onOverdue();
      }, place.turnMs);
      place.timer.unref();
      place.admit();
    }
    this.#look();
  }

  #leave(place: Place): void {
    clearTimeout(place.timer);
    if (!this.#waiting.delete(place) && !this.#admitted.delete(place)) return;
    place.leftAtMs = this.#clock.nowMs();
    this.#admitNext();
  }

  #look(): void {
    this.#excuse.update(this.#waiting.size > 0, this.#clock.nowMs());
  }
}
