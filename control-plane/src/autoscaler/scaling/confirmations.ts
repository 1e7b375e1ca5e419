import {
  type Bus,
  backoffMs,
  isBerthError,
  type Logger,
  type Part,
  sleep,
} from "@berth/service-kit";

import type { Fulfilment } from "./fulfilment.ts";
import { type Confirmation, confirmationSubject, readConfirmation } from "./scale-messages.ts";

/** What {@link confirmationListener} works with. */
export interface ConfirmationsDeps {
  readonly orgId: string;
  readonly bus: Pick<Bus, "subscribe">;
  readonly fulfilment: Pick<Fulfilment, "complete">;
  readonly logger: Logger;
}

/** Completions that are written together at most: each waits until it is durable. */
const AT_ONCE = 64;
const BACKOFF = { firstMs: 100, capMs: 5_000 };

/**
 * Hears confirmations on the seed's subject and completes the requests that they are of: nothing else does. What is unreadable,
 * of a uuid that nobody knows, of a request that is over already or that Berth has not applied yet changes nothing and is told in the log.
 */
export function confirmationListener(deps: ConfirmationsDeps): Part {
  const { orgId, bus, fulfilment, logger } = deps;
  let subscription: { stop(): Promise<void> } | undefined;
  const stop = new AbortController();
  /** Nobody confirms it again: what the store does not take now is kept until it does. */
  const complete = async (confirmation: Confirmation) => {
    for (let failures = 1; ; failures += 1) {
      try {
        return await fulfilment.complete(confirmation);
      } catch (thrown) {
        const isAway = isBerthError(thrown) && thrown.reason === "UNAVAILABLE";
        if (!isAway || stop.signal.aborted) throw thrown;
        if (failures === 1) logger.warn("a confirmation waits for the store", { err: thrown });
        await sleep(backoffMs(failures, BACKOFF), stop.signal);
        stop.signal.throwIfAborted();
      }
    }
  };
  const hear = async (text: string) => {
    const confirmation = readConfirmation(text);
    if ("kind" in confirmation) {
      logger.warn("a confirmation could not be read", { why: confirmation.why });
      return;
    }
    const completed = await complete(confirmation);
    if (completed.kind === "completed") return;
    logger.info("a confirmation changed nothing", {
      uuid: confirmation.uuid.slice(0, 100),
      why: completed.why,
    });
  };
  return {
    name: "confirmations",
    async start() {
      subscription = await bus.subscribe({
        subject: confirmationSubject(orgId),
        name: "berth-confirmations",
        handler: ({ text }) => hear(text),
        atOnce: AT_ONCE,
      });
    },
    async stop() {
      stop.abort();
      await subscription?.stop();
    },
  };
}
