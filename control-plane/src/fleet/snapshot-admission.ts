import type { Clock } from "@berth/service-kit";

/** Bounds of {@link SnapshotAdmission}. */
export interface AdmissionLimits {
  /** Agents that may send their snapshot at once. */
  readonly atOnce: number;
  /** Longest turn, ms. */
  readonly turnMs: number;
  /** Longest suspension of liveness verdicts in one go, ms: agents that stall cannot stop them for ever. */
  readonly suspendMs: number;
}

/** What `failure-model.md` asks for: 32 at once; a turn of 30 s; verdicts wait for ten turns at most. */
export const ADMISSION_LIMITS: AdmissionLimits = {
  atOnce: 32,
  turnMs: 30_000,
  suspendMs: 300_000,
};

/** One agent's place in the queue. */
export interface AdmissionTicket {
  /** Resolves when the turn comes; never when the ticket is given back before. */
  readonly admitted: Promise<void>;
  /** Ends the turn, or the wait for it. May be called more than once. */
  leave(): void;
}

interface Place {
  admit(): void;
  readonly onOverdue: () => void;
  timer: NodeJS.Timeout | undefined;
}

/**
 * Lets a bounded number of agents send their snapshots at once, in the order in which they came. While
 * somebody waits or sends, silence says nothing about an agent.
 */
export class SnapshotAdmission {
  readonly #limits: AdmissionLimits;
  readonly #clock: Clock;
  readonly #waiting = new Set<Place>();
  readonly #admitted = new Set<Place>();
  #beganAtMs: number | undefined;
  #endedAtMs = Number.NEGATIVE_INFINITY;

  constructor(limits: AdmissionLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Queues an agent; `onOverdue` is called when its turn took too long, after it has been taken back. */
  enter(onOverdue: () => void): AdmissionTicket {
    const turn = Promise.withResolvers<void>();
    const place: Place = { admit: () => turn.resolve(), onOverdue, timer: undefined };
    this.#beganAtMs ??= this.#clock.nowMs();
    this.#waiting.add(place);
    this.#admitNext();
    return { admitted: turn.promise, leave: () => this.#leave(place) };
  }

  /** Agents that send and agents that wait. */
  get counts(): { readonly admitted: number; readonly waiting: number; readonly limit: number } {
    const limit = this.#limits.atOnce;
    return { admitted: this.#admitted.size, waiting: this.#waiting.size, limit };
  }

  /**
   * From when on silence counts, on the monotonic clock; undefined while verdicts are suspended. After an
   * admission has drained every agent has its whole TTL again.
   */
  get silenceCountsFromMs(): number | undefined {
    if (this.#beganAtMs === undefined) return this.#endedAtMs;
    const suspendedMs = this.#clock.nowMs() - this.#beganAtMs;
    return suspendedMs > this.#limits.suspendMs ? this.#endedAtMs : undefined;
  }

  /** Gives up every place, at shutdown. */
  close(): void {
    for (const place of this.#admitted) clearTimeout(place.timer);
    this.#admitted.clear();
    this.#waiting.clear();
    this.#drained();
  }

  #admitNext(): void {
    for (const place of this.#waiting) {
      if (this.#admitted.size >= this.#limits.atOnce) return;
      this.#waiting.delete(place);
      this.#admitted.add(place);
      place.timer = setTimeout(() => {
        this.#leave(place);
        place.onOverdue();
      }, this.#limits.turnMs);
      place.timer.unref();
      place.admit();
    }
  }

  #leave(place: Place): void {
    clearTimeout(place.timer);
    if (!this.#waiting.delete(place) && !this.#admitted.delete(place)) return;
    this.#admitNext();
    if (this.#waiting.size === 0 && this.#admitted.size === 0) this.#drained();
  }

  #drained(): void {
    this.#beganAtMs = undefined;
    this.#endedAtMs = this.#clock.nowMs();
  }
}
