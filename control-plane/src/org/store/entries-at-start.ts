import { setTimeout as sleep } from "node:timers/promises";
import type { Logger, Mirror, MirrorEntry } from "@berth/service-kit";

/** A start waits so long for a mirror that is away, when neither the store nor the local file has anything. */
const EMPTY_WAIT_MS = 10_000;
const LOOK_AGAIN_MS = 500;

/**
 * What the mirror has at a start. One that is away is waited for when it alone may have what was.
 * Rejects when nothing of it can be read.
 */
export async function entriesAtStart(
  mirror: Mirror,
  isEmpty: boolean,
  logger: Logger,
): Promise<readonly MirrorEntry[]> {
  const untilMs = performance.now() + EMPTY_WAIT_MS;
  for (;;) {
    const entries = await mirror.read("");
    const { isConnected, why } = mirror.status;
    if (!isEmpty || entries.length > 0 || isConnected) return entries;
    if (performance.now() >= untilMs) {
      const advice =
        "what it has is left as it is when it comes back: to take it, start again with an empty data directory then";
      logger.warn("the store is empty, and the mirror is away", { why, advice });
      return entries;
    }
    logger.info("the store is empty, and the mirror is away: waiting for it", { why });
    await sleep(LOOK_AGAIN_MS);
  }
}
