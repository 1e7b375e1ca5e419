import type { Logger } from "@berth/service-kit";

/** Times of {@link TermStretches}. */
export interface StretchTimes {
  /** Time between two times that agents are told, at least, ms. */
  readonly restMs: number;
  /** Time after which a stretch begins though nothing was written, ms. */
  readonly everyMs: number;
}

/** All agents are told once a second at most; at least once a minute. */
export const STRETCH_TIMES: StretchTimes = { restMs: 1_000, everyMs: 60_000 };

/** What {@link TermStretches} needs. */
export interface TermStretchesDeps {
  /** Begins a stretch; durable when it resolves. Never called twice at once. */
  readonly begin: () => Promise<void>;
  /** Tells every agent the newest one; must not throw. */
  readonly tell: () => void;
  /** Whether there is anybody to tell. */
  readonly isWorthwhile: () => boolean;
  readonly logger: Logger;
  readonly times?: StretchTimes | undefined;
}

/**
 * When new stretches of the term begin, and when agents are told. A copy that is made of the running store ages by
 * that: who was told of a stretch that began behind it can tell it from its original.
 */
export class TermStretches {
  readonly #deps: TermStretchesDeps;
  readonly #times: StretchTimes;
  #every: NodeJS.Timeout | undefined;
  #rest: NodeJS.Timeout | undefined;
  /** One has begun that agents were not told of. */
  #isUntold = false;
  #isStopped = false;
  #running: Promise<void> = Promise.resolve();
  /** The one behind it, which all share that ask meanwhile. */
  #next: Promise<void> | undefined;

  constructor(deps: TermStretchesDeps) {
    this.#deps = deps;
    this.#times = deps.times ?? STRETCH_TIMES;
  }

  /** Begins one every minute from now on, while it is worthwhile. */
  start(): void {
    this.#every ??= setInterval(() => {
      if (this.#deps.isWorthwhile()) void this.advance();
    }, this.#times.everyMs);
    this.#every.unref();
  }

  /**
   * To be called right behind each write that must not be lost with a copy, such as an order: begins a stretch
   * that is durable no earlier than the write is, and when the promise resolves. Writes of the same moment
   * share one. A failure is logged: the next write, or the next minute, brings the next one.
   */
  advance(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      this.#running = this.#begin();
      return this.#running;
    });
    return this.#next;
  }

  /** Resolves when nothing is written any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#every);
    clearTimeout(this.#rest);
    await this.#next;
    await this.#running;
    clearTimeout(this.#rest);
  }

  async #begin(): Promise<void> {
    try {
      await this.#deps.begin();
    } catch (err) {
      this.#deps.logger.error("no new stretch of the term was begun", { err });
      return;
    }
    this.#isUntold = true;
    if (this.#rest === undefined) this.#tell();
  }

  #tell(): void {
    this.#isUntold = false;
    this.#deps.tell();
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      if (this.#isUntold) this.#tell();
    }, this.#times.restMs);
    this.#rest.unref();
  }
}
