import { BerthError, type Clock, type Part } from "@berth/service-kit";
import type { Evaluation } from "./evaluation-record.ts";
import type { Evaluator } from "./evaluator.ts";

/** What an {@link EvaluationTimer} works with. */
export interface EvaluationTimerDeps {
  readonly evaluator: Pick<Evaluator, "evaluate">;
  /** Seconds from one evaluation to the next, as it is now. */
  readonly intervalSeconds: () => number;
  /** Calls back when it may have changed; gives the function that ends that. */
  readonly onChange: (listener: () => void) => () => void;
  /** Age of the last evaluation that an earlier start has made, ms; undefined when there is none. */
  readonly lastAgeMs?: () => number | undefined;
  readonly clock: Pick<Clock, "nowMs">;
}

/** After a start the agents have so long to come back before what is due is made, ms. */
const SETTLING_MS = 15_000;
/** Evaluations by hand that wait for their turn, at most. */
const MAX_WAITING = 16;

/**
 * Has an evaluation made in each interval, also over restarts, one after the other: an interval that passes
 * while one is being made is left out. A new interval counts from the start of the last evaluation, at once.
 */
export class EvaluationTimer implements Part {
  readonly name = "autoscaler";
  readonly #deps: EvaluationTimerDeps;
  readonly #stop = new AbortController();
  #lastMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #turns: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** Whether the timer waits for the evaluation that it asked for. */
  #isTicking = false;
  #unsubscribe: (() => void) | undefined;

  constructor(deps: EvaluationTimerDeps) {
    this.#deps = deps;
  }

  /** Milliseconds until the next evaluation; undefined before the start and while one is being made. */
  get nextInMs(): number | undefined {
    if (this.#timer === undefined) return undefined;
    return Math.max(0, this.#dueMs() - this.#deps.clock.nowMs());
  }

  async start(): Promise<void> {
    const { clock, intervalSeconds, lastAgeMs } = this.#deps;
    const atMostMs = Math.max(0, intervalSeconds() * 1_000 - SETTLING_MS);
    this.#lastMs = clock.nowMs() - Math.min(Math.max(0, lastAgeMs?.() ?? 0), atMostMs);
    this.#unsubscribe = this.#deps.onChange(() => this.#schedule());
    this.#schedule();
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#stop.abort(new BerthError("CANCELED", "the control-plane stops"));
    clearTimeout(this.#timer);
    await this.#turns;
  }

  /** Makes one now, behind one that is being made. OVERLOADED when too many are asked for. */
  async evaluateNow(isShadow: boolean): Promise<Evaluation> {
    if (this.#waiting >= MAX_WAITING) {
      throw new BerthError(
        "OVERLOADED",
        `${MAX_WAITING} evaluations wait already; try again later`,
      );
    }
    this.#waiting += 1;
    try {
      return await this.#turn("request", isShadow);
    } finally {
      this.#waiting -= 1;
    }
  }

  #turn(trigger: "timer" | "request", isShadow: boolean): Promise<Evaluation> {
    const turn = this.#turns.then(() => {
      if (!isShadow) this.#lastMs = this.#deps.clock.nowMs();
      return this.#deps.evaluator.evaluate({ trigger, isShadow, signal: this.#stop.signal });
    });
    this.#turns = turn.catch(() => undefined);
    return turn;
  }

  #dueMs(): number {
    return this.#lastMs + this.#deps.intervalSeconds() * 1_000;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#stop.signal.aborted || this.#isTicking) return;
    const inMs = Math.max(0, this.#dueMs() - this.#deps.clock.nowMs());
    this.#timer = setTimeout(() => void this.#tick(), inMs);
  }

  async #tick(): Promise<void> {
    this.#timer = undefined;
    // One by hand may just have been made.
    if (this.#dueMs() <= this.#deps.clock.nowMs() + 1) {
      this.#isTicking = true;
      await this.#turn("timer", false).catch(() => undefined);
      this.#isTicking = false;
    }
    this.#schedule();
  }
}
