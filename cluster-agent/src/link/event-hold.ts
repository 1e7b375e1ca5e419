import { type BackoffOptions, backoffMs, type Clock, type Logger, sleep } from "@berth/service-kit";
import { Wakeup } from "./wakeup.ts";

const RETRY: BackoffOptions = { firstMs: 1_000, capMs: 60_000 };
const MAX_REASON_CHARACTERS = 1_000;
const NO_TIME = Number.NEGATIVE_INFINITY;

/** What {@link EventHold} needs. */
export interface EventHoldDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Delays between attempts; 1 s to 60 s by default. */
  readonly retry?: BackoffOptions;
}

/**
 * Holds events back for a growing, jittered time while the control-plane cannot take them in, and for as long as
 * the agent only observes: they are for the store that it obeys.
 */
export class EventHold {
  readonly #deps: EventHoldDeps;
  readonly #changes = new Wakeup();
  #failures = 0;
  /** End of the time; none when it was told. */
  #untilMs = NO_TIME;
  #told: string | undefined;
  #observing = false;

  constructor(deps: EventHoldDeps) {
    this.#deps = deps;
  }

  /** Whether no events shall be sent now. */
  get isOn(): boolean {
    return this.#observing || this.#restMs() > 0;
  }

  /** Whether the agent only observes its control-plane. */
  set observing(observing: boolean) {
    this.#observing = observing;
    this.#changes.wake();
  }

  /** Events were not taken in, for this reason. Those that were sent with them count with them. */
  refused(why: string): void {
    const { clock, logger, retry = RETRY } = this.#deps;
    const shown = why.slice(0, MAX_REASON_CHARACTERS);
    if (shown !== this.#told) {
      logger.warn("the control-plane does not take events; they are kept", { why: shown });
      this.#told = shown;
    }
    if (this.#restMs() > 0) return;
    this.#failures += 1;
    this.#untilMs = clock.nowMs() + backoffMs(this.#failures, retry);
    this.#changes.wake();
  }

  /** Events were taken in. */
  taken(): void {
    this.#failures = 0;
    if (this.#told === undefined) return;
    this.#told = undefined;
    this.#deps.logger.info("the control-plane takes events again");
  }

  /**
   * Resolves when the time is over, when there is none at the next refusal or change of whom the agent obeys; or when
   * the signal is aborted. A time that ended between a look at {@link isOn} and the call wakes its caller, too.
   */
  async changed(signal: AbortSignal): Promise<void> {
    if (this.#untilMs === NO_TIME) return this.#changes.wait(signal);
    await sleep(Math.max(0, Math.ceil(this.#restMs())), signal);
    if (this.#restMs() <= 0) this.#untilMs = NO_TIME;
  }

  #restMs(): number {
    return this.#untilMs - this.#deps.clock.nowMs();
  }
}
