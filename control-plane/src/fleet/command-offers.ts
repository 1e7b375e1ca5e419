import { type Clock, type Logger, sleep } from "@berth/service-kit";
import type { AgentSession } from "./agent-session.ts";
import { type CommandAnswer, formerStore, type Offer } from "./command-record.ts";
import type { CommandStore } from "./command-store.ts";
import type { PendingCommand, PendingCommands } from "./pending-commands.ts";
import type { StoreFence } from "./store-verdict.ts";

/** Orders that are made ready for one stream at once: so many share their writes. */
const BATCH = 32;
/** Delay before orders are made ready again that the store did not take, ms. */
const RETRY_MS = 500;

/** What is looked at of the session that a stream belongs to. */
export type OfferedSession = Pick<AgentSession, "cluster" | "signal" | "told">;

/** What {@link CommandOffers} needs. */
export interface CommandOffersDeps {
  readonly pending: PendingCommands;
  readonly stored: CommandStore;
  /** Store id and term that orders are given under, as they are now. */
  readonly fence: () => StoreFence;
  /** Begins one stretch for each order; durable, with what `beside` writes, when it resolves. */
  readonly beginStretches: (
    count: number,
    beside: (fences: readonly StoreFence[]) => Promise<void>,
  ) => Promise<readonly StoreFence[]>;
  /** Why no order is given to a cluster; undefined when orders are. */
  readonly refusal: (clusterId: string) => string | undefined;
  /** Answers an order that cannot be given any more. */
  readonly answer: (commandId: string, answer: CommandAnswer) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Ready {
  readonly pending: PendingCommand;
  readonly fence: StoreFence;
}

/**
 * What goes to agents on their Commands streams. Each order goes under a stretch of the term of its own, written
 * down with the order before it goes: an agent that knows an older one only has not been given it.
 */
export class CommandOffers {
  readonly #deps: CommandOffersDeps;
  /** Raised each time that streams are to tell the newest term id. */
  #announced = 1;
  /** Orders could not be made ready when it was tried last. */
  #isFailing = false;

  constructor(deps: CommandOffersDeps) {
    this.#deps = deps;
  }

  /** Orders and news of the term for one session, until the signal or the session is aborted. */
  async *to(session: OfferedSession, signal: AbortSignal): AsyncGenerator<Offer> {
    const { pending, fence } = this.#deps;
    const clusterId = session.cluster.id;
    const either = AbortSignal.any([signal, session.signal]);
    let toldTermId = session.told.termId;
    let announced = 0;
    let seq = 0;
    while (!either.aborted) {
      const waiting = pending.next(clusterId, seq, BATCH);
      for await (const offer of this.#orders(waiting, either)) {
        toldTermId = offer.fence.termId;
        yield offer;
      }
      seq = waiting.at(-1)?.seq ?? seq;
      // What comes from now on wakes this stream, so nothing may be waited for between the look and that.
      if (pending.next(clusterId, seq, 1).length > 0) continue;
      const now = fence();
      // A store that got a new id meanwhile has ended the session: its terms are not of the one that was told.
      const isOther = now.termId !== toldTermId && now.storeId === session.told.storeId;
      const isNews = isOther && announced !== this.#announced;
      announced = this.#announced;
      if (isNews) {
        toldTermId = now.termId;
        yield { kind: "term", termId: now.termId };
      } else await pending.added(clusterId, either);
    }
  }

  /** Tells every open stream the newest term id, in its turn. */
  tellTerm(): void {
    this.#announced += 1;
    this.#deps.pending.wakeAll();
  }

  /** Those of the orders that may go out, each once it is marked and its turn has come. */
  async *#orders(
    waiting: readonly PendingCommand[],
    signal: AbortSignal,
  ): AsyncGenerator<Extract<Offer, { readonly kind: "order" }>> {
    for (const ready of await this.#makeReady(waiting, signal)) {
      const timeoutMs = this.#timeLeftMs(ready, signal);
      if (timeoutMs < 1) continue;
      const { id: commandId, order } = ready.pending;
      yield { kind: "order", commandId, order, fence: ready.fence, timeoutMs };
    }
  }

  /** Marks orders as offered; tried again while the store does not take it. Nothing when aborted. */
  async #makeReady(
    waiting: readonly PendingCommand[],
    signal: AbortSignal,
  ): Promise<readonly Ready[]> {
    while (!signal.aborted) {
      try {
        const given: PendingCommand[] = [];
        for (const command of waiting) if (await this.#mayGive(command)) given.push(command);
        const ready = given.length === 0 ? [] : await this.#mark(given);
        this.#isFailing = false;
        return ready;
      } catch (err) {
        if (!this.#isFailing) this.#deps.logger.error("orders are not offered", { err });
        this.#isFailing = true;
      }
      await sleep(RETRY_MS, signal);
    }
    return [];
  }

  async #mark(given: readonly PendingCommand[]): Promise<readonly Ready[]> {
    const { pending, stored, beginStretches } = this.#deps;
    const fences = await beginStretches(given.length, async (theirs) => {
      const writes = pairs(given, theirs).map(({ pending: command, fence: { termId } }) => {
        pending.offer(command, termId);
        return stored.change(command.id, (body) => {
          return body.state === "pending" ? { ...body, offeredUnder: termId } : undefined;
        });
      });
      await Promise.all(writes);
    });
    return pairs(given, fences);
  }

  /** Whether an order may go out as it is now; one of a former store is answered. */
  async #mayGive({ id, clusterId, storeId }: PendingCommand): Promise<boolean> {
    const { fence, refusal, answer } = this.#deps;
    if (storeId === fence().storeId) return refusal(clusterId) === undefined;
    await answer(id, formerStore(storeId));
    return false;
  }

  /** Time that an order has left which is about to go out, ms; 0 when it may not go any more. */
  #timeLeftMs({ pending: command, fence }: Ready, signal: AbortSignal): number {
    const { pending, refusal, clock } = this.#deps;
    if (signal.aborted || !pending.mayBeOffered(command)) return 0;
    const isOfStore = fence.storeId === this.#deps.fence().storeId;
    if (!isOfStore || refusal(command.clusterId) !== undefined) return 0;
    return Math.floor(command.deadlineMs - clock.nowMs());
  }
}

function pairs(
  commands: readonly PendingCommand[],
  fences: readonly StoreFence[],
): readonly Ready[] {
  return commands.flatMap((pending, index) => {
    const fence = fences[index];
    return fence === undefined ? [] : [{ pending, fence }];
  });
}
