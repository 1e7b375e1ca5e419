import { BerthError } from "@berth/service-kit";

/** Time in ms that all works together get per turn of the event loop. */
const TURN_MS = 8;
/** A work that is done within so many ms needs no place: less than a turn, which it may have to itself. */
const QUICK_MS = 4;

/** How many works there may be. */
export interface FilterLimits {
  /** Long works that share the time. */
  readonly underWay: number;
  /** Works that wait for one of those to end, or have not shown yet whether they take long. */
  readonly waiting: number;
  /** Longest wait in ms. */
  readonly waitMs: number;
}

/** A filter takes 20,000,000 steps at most, so eight share the time for up to some 15 s. */
export const FILTER_LIMITS: FilterLimits = { underWay: 8, waiting: 1_000, waitMs: 10_000 };

const TOO_MANY = "filter: too many are under way; ask again, or with fewer conditions";

/** A work on its way. */
interface Job {
  /** Does one piece; false when there is no more of it. */
  readonly doPiece: () => boolean;
  readonly fail: (reason: unknown) => void;
  spentMs: number;
  hasPlace: boolean;
}

/**
 * Looks through filters: quick ones as soon as the newcomers before them have had a turn, and of those
 * that take longer a few at a time, in their order. All of them together take 8 ms of each turn of the event loop,
 * however many there are.
 */
export class FilterTurns {
  readonly #limits: FilterLimits;
  /** Works that go on one after the other: newcomers, and those that have a place. */
  readonly #ready = new Set<Job>();
  /** Works that are not quick, and have no place yet. */
  readonly #waiting = new Set<Job>();
  #count = 0;
  #underWay = 0;
  #isTurnDue = false;

  constructor(limits: FilterLimits = FILTER_LIMITS) {
    this.#limits = limits;
  }

  /**
   * Does a work that pauses where others could have their turn, a fraction of a millisecond apart. Rejects with
   * what the work throws, with OVERLOADED before anything of it is done when there are too many, or after too long
   * a wait, and with the signal's reason as soon as it is aborted.
   */
  async run<T>(work: Generator<void, T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const { underWay, waiting, waitMs } = this.#limits;
    if (this.#count >= underWay + waiting) throw new BerthError("OVERLOADED", TOO_MANY);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const doPiece = () => {
      const piece = work.next();
      if (piece.done === true) resolve(piece.value);
      return piece.done !== true;
    };
    const job: Job = { doPiece, fail: reject, spentMs: 0, hasPlace: false };
    const onAbort = () => reject(signal.reason);
    const onDeadline = () => {
      if (!job.hasPlace) reject(new BerthError("OVERLOADED", TOO_MANY));
    };
    const timer = setTimeout(onDeadline, waitMs);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#count += 1;
    this.#goOn(job);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      this.#remove(job);
    }
  }

  #goOn(job: Job): void {
    this.#ready.add(job);
    this.#beDue();
  }

  #beDue(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isTurnDue = false;
    const until = performance.now() + TURN_MS;
    for (const job of this.#ready) {
      this.#ready.delete(job);
      if (hasMore(job, until)) this.#after(job);
      if (performance.now() >= until) break;
    }
    if (this.#ready.size > 0) this.#beDue();
  }

  /** A newcomer whose turn others have cut short has not shown yet that it takes long. */
  #after(job: Job): void {
    if (job.hasPlace || job.spentMs < QUICK_MS) {
      this.#goOn(job);
    } else {
      this.#waiting.add(job);
      this.#handOut();
    }
  }

  /** Gives the free places to those that wait longest. */
  #handOut(): void {
    for (const job of this.#waiting) {
      if (this.#underWay >= this.#limits.underWay) return;
      this.#waiting.delete(job);
      job.hasPlace = true;
      this.#underWay += 1;
      this.#goOn(job);
    }
  }

  #remove(job: Job): void {
    this.#ready.delete(job);
    this.#waiting.delete(job);
    this.#count -= 1;
    if (!job.hasPlace) return;
    this.#underWay -= 1;
    this.#handOut();
  }
}

/** Does pieces of a work until then, at least one; whether there is more of it. */
function hasMore(job: Job, until: number): boolean {
  const begunAt = performance.now();
  try {
    let now = begunAt;
    do {
      if (!job.doPiece()) return false;
      now = performance.now();
    } while (now < until);
    job.spentMs += now - begunAt;
    return true;
  } catch (cause) {
    job.fail(cause);
    return false;
  }
}
