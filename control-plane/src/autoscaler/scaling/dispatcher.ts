import {
  backoffMs,
  type Clock,
  isBerthError,
  type Logger,
  type Part,
  Recurring,
  sleep,
  toBerthError,
} from "@berth/service-kit";
import {
  type Applied,
  type Applier,
  type ApplyContext,
  failedResponse,
  isPassing,
} from "./applier.ts";
import type { Fulfilment } from "./fulfilment.ts";
import type { ScaleBook } from "./scale-book.ts";
import type { ScaleListeners } from "./scale-listeners.ts";
import { confirmationMessage } from "./scale-messages.ts";
import { isOpen, type ScaleRequest } from "./scale-request.ts";

/** What {@link Dispatcher} works with. */
export interface DispatcherDeps {
  readonly orgId: string;
  readonly fulfilment: Fulfilment;
  readonly listeners: ScaleListeners;
  readonly scale: ScaleBook;
  /** Who applies a request. */
  readonly applierOf: (request: ScaleRequest) => Applier;
  readonly clock: Pick<Clock, "nowMs" | "timestamp">;
  readonly logger: Logger;
}

/** Requests that are applied at a time. */
const AT_ONCE = 32;
/** A request that cannot be applied for so long has failed, ms. */
const GIVE_UP_MS = 600_000;
/** A request that was accepted and is not confirmed for so long is sent again, ms. */
const ASK_AGAIN_MS = 300_000;
/** A request that is not confirmed so long after it was dispatched has failed, ms. */
const UNCONFIRMED_MS = 3_600_000;
const REMIND_EVERY_MS = 10_000;
const BACKOFF = { firstMs: 250, capMs: 15_000 } as const;

/**
 * Applies requests: of each quota one after the other, the newest only, and many quotas side by side. What it came to is
 * written to the outbox; the confirmation that is sent from there completes the request.
 */
export class Dispatcher implements Part {
  readonly name = "scale dispatcher";
  readonly #deps: DispatcherDeps;
  readonly #stop = new AbortController();
  /** Quotas whose requests are applied. */
  readonly #lanes = new Map<string, Promise<void>>();
  /** Requests that this process has brought to their confirmation, or given to somebody who confirms, and when. */
  readonly #done = new Map<string, number>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  #end: (() => void) | undefined;
  readonly #reminders: Recurring;

  constructor(deps: DispatcherDeps) {
    this.#deps = deps;
    this.#reminders = new Recurring({
      ...{ name: this.name, everyMs: REMIND_EVERY_MS, task: () => this.#remind() },
      onFailure: (err) => deps.logger.warn("confirmations are sent again later", { err }),
    });
  }

  async start(): Promise<void> {
    const { listeners, scale } = this.#deps;
    this.#end = listeners.listen({
      onPending: ({ quotaId }) => this.#wake(quotaId),
      onOver: ({ uuid }) => this.#done.delete(uuid),
    });
    for (const { quotaId } of scale.open()) this.#wake(quotaId);
    await this.#reminders.start();
  }

  async stop(): Promise<void> {
    this.#end?.();
    this.#stop.abort();
    for (const next of this.#waiting.splice(0)) next();
    await Promise.all([this.#reminders.stop(), ...this.#lanes.values()]);
  }

  /** Has confirmations sent again that the bus has lost, and what was accepted and never confirmed; after an hour it has failed. */
  async #remind(): Promise<void> {
    const { orgId, fulfilment, scale, clock } = this.#deps;
    await fulfilment.remind();
    for (const [uuid, sinceMs] of this.#done) {
      const request = scale.planned(uuid);
      // After a restart, too, it is asked once more before it is given up.
      if (clock.nowMs() - sinceMs < ASK_AGAIN_MS) continue;
      if (request === undefined || request.answer !== undefined) continue;
      const ageMs = Date.parse(clock.timestamp()) - Date.parse(request.updatedAt);
      if (ageMs >= UNCONFIRMED_MS) {
        const response = failedResponse("it was accepted, and not confirmed within an hour");
        await fulfilment.confirm(uuid, confirmationMessage(orgId, uuid, response), { response });
      } else {
        this.#done.delete(uuid);
        this.#wake(request.quotaId);
      }
    }
  }

  #wake(quotaId: string): void {
    if (this.#stop.signal.aborted || this.#lanes.has(quotaId)) return;
    const lane = this.#runLane(quotaId).finally(() => {
      this.#lanes.delete(quotaId);
      if (this.#next(quotaId) !== undefined) this.#wake(quotaId);
    });
    this.#lanes.set(quotaId, lane);
  }

  /** Until nothing is left to be applied. Never rejects: what the store does not take now is tried again later. */
  async #runLane(quotaId: string): Promise<void> {
    for (let failures = 1; !this.#stop.signal.aborted; failures += 1) {
      try {
        return await this.#drain(quotaId);
      } catch (err) {
        if (this.#stop.signal.aborted) return;
        this.#deps.logger.error("scaling waits and goes on", { quotaId, err });
        await sleep(backoffMs(failures, BACKOFF), this.#stop.signal);
      }
    }
  }

  async #drain(quotaId: string): Promise<void> {
    await this.#turn();
    try {
      for (;;) {
        const request = this.#next(quotaId);
        if (request === undefined || this.#stop.signal.aborted) return;
        await this.#bring(request);
        const left = this.#deps.scale.planned(request.uuid);
        if (left !== undefined && isOpen(left)) {
          this.#done.set(request.uuid, this.#deps.clock.nowMs());
        }
      }
    } finally {
      this.#giveTurn();
    }
  }

  #giveTurn(): void {
    this.#running -= 1;
    this.#waiting.shift()?.();
  }

  async #turn(): Promise<void> {
    while (this.#running >= AT_ONCE && !this.#stop.signal.aborted) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running += 1;
  }

  /** The newest request of a quota that is to be applied. */
  #next(quotaId: string): ScaleRequest | undefined {
    const newest = this.#deps.scale.open(quotaId).at(-1);
    const isDue = newest?.state === "pending" || newest?.state === "dispatched";
    return isDue && !this.#done.has(newest.uuid) ? newest : undefined;
  }

  /** Applies a request until there is something to confirm, it is superseded, or it is given up. */
  async #bring({ uuid, quotaId }: ScaleRequest): Promise<void> {
    const { fulfilment, scale, clock, orgId } = this.#deps;
    const isRepeated = scale.planned(uuid)?.state === "dispatched";
    const giveUpAtMs = clock.nowMs() + GIVE_UP_MS;
    for (let attempt = 0; ; attempt += 1) {
      const request = await fulfilment.dispatch(uuid);
      if (request === undefined) return;
      const applied =
        request.answer === undefined
          ? await this.#try(request, {
              isLast: clock.nowMs() >= giveUpAtMs,
              isRepeated: isRepeated || attempt > 0,
            })
          : { response: request.answer };
      if (applied === "again") {
        // Others have their turn meanwhile: what is away may be so for long.
        this.#giveTurn();
        await sleep(backoffMs(attempt + 1, BACKOFF), this.#stop.signal);
        await this.#turn();
        this.#stop.signal.throwIfAborted();
        if (this.#next(quotaId)?.uuid !== uuid) return;
        continue;
      }
      if (applied === undefined) return;
      const message = confirmationMessage(orgId, uuid, applied.response);
      if (await fulfilment.confirm(uuid, message, applied)) await applied.afterwards?.();
      return;
    }
  }

  async #try(
    request: ScaleRequest,
    { isLast, isRepeated }: Pick<ApplyContext, "isLast" | "isRepeated">,
  ): Promise<Applied | "again" | undefined> {
    const { fulfilment, scale, applierOf, logger } = this.#deps;
    const { uuid } = request;
    try {
      return await applierOf(request).apply(request, {
        ...{ signal: this.#stop.signal, isLast, isRepeated },
        keep: (order) => fulfilment.dispatch(uuid, order),
      });
    } catch (thrown) {
      if (this.#stop.signal.aborted) throw thrown;
      const { reason, message } = toBerthError(thrown);
      if (!isBerthError(thrown)) logger.error("a request was not applied", { uuid, err: thrown });
      if (isPassing(reason) && !isLast) {
        if (!isRepeated) logger.warn("a request is not applied yet", { uuid, why: message });
        return "again";
      }
      // What was refused before anything was sent has changed nothing; of what may pass that is not known.
      const isSent = scale.planned(uuid)?.order !== undefined;
      const isUntouched = !isSent && !isPassing(reason);
      return { response: failedResponse(message), isUntouched };
    }
  }
}
