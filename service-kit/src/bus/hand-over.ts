import { backoffMs } from "../backoff.ts";
import { sleep } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { BusHandler, BusMessage } from "./bus.ts";

/** Delays before a message comes again. */
export interface RetryRules {
  readonly firstMs: number;
  readonly capMs: number;
  /** How often it comes again before it is dropped. */
  readonly most: number;
}

/** 250 ms doubling to 30 s, 10 times. */
export const RETRY_RULES: RetryRules = { firstMs: 250, capMs: 30_000, most: 10 };

/** What {@link handOver} needs. */
export interface HandOver {
  readonly message: BusMessage;
  readonly handler: BusHandler;
  readonly logger: Logger;
  readonly rules: RetryRules;
  readonly signal: AbortSignal;
}

/**
 * Hands a message over until its handler takes it. Gives "taken"; "dropped" (with a log line) when the
 * handler refused it too often; "stopped" when the signal was aborted first. Never rejects.
 */
export async function handOver(options: HandOver): Promise<"taken" | "dropped" | "stopped"> {
  const { message, handler, logger, rules, signal } = options;
  for (let redeliveries = message.redeliveries; !signal.aborted; redeliveries += 1) {
    try {
      await handler({ ...message, redeliveries });
      return "taken";
    } catch (err) {
      const fields = { subject: message.subject, redeliveries, err };
      if (redeliveries >= rules.most) {
        logger.error("a message was dropped: its subscriber refused it too often", fields);
        return "dropped";
      }
      logger.warn("a subscriber failed; the message comes again", fields);
    }
    await sleep(backoffMs(redeliveries + 1, rules), signal);
  }
  return "stopped";
}

/** Waits for a promise that never rejects, but no longer than `ms`. */
export async function atMost(ms: number, ended: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  await Promise.race([ended, sleep(ms, done.signal)]);
  done.abort();
}
