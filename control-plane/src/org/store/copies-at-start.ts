import { setTimeout as sleep } from "node:timers/promises";
import type { Logger, Mirror, MirrorCopies } from "@berth/service-kit";

/** A start waits so long for a mirror that is slow, or that is away when neither the store nor the local file has anything. */
const PATIENCE = { waitMs: 10_000, againMs: 500 };

/**
 * The copies that the mirror has at a start. One that is away is waited for when it alone may have what was, and one that is there and does
 * not answer in any case. Rejects when nothing of it can be read.
 */
export async function copiesAtStart(
  mirror: Mirror,
  isEmpty: boolean,
  logger: Logger,
  { waitMs, againMs }: typeof PATIENCE = PATIENCE,
): Promise<MirrorCopies> {
  const untilMs = performance.now() + waitMs;
  for (;;) {
    const found = await mirror.copies();
    const { isConnected, why } = mirror.status;
    const hasSome = !isEmpty || found.copies.some(({ length }) => length > 0);
    if (found.isWhole || (hasSome && !isConnected)) return found;
    if (performance.now() >= untilMs) {
      const advice =
        "what it has is left as it is when it comes back: to take it, start again with an empty data directory then";
      logger.warn("the mirror cannot be read at the start", { isEmpty, why, advice });
      return found;
    }
    logger.info("waiting for the mirror", { isEmpty, why });
    await sleep(againMs);
  }
}
