import type { Logger } from "./log.ts";

/** Something of a program that is started and stopped. Constructors do no I/O; start does. */
export interface Part {
  /** For the log: "http", "agent link". */
  readonly name: string;
  /** Resolves when the part serves; rejects when it cannot. */
  start(): Promise<void>;
  /** Resolves when the part holds nothing any more; called once, also after a failed start. */
  stop(): Promise<void>;
}

/** Longest wait for one part to stop, in ms; the next one is stopped after that all the same. */
export const PART_STOP_LIMIT_MS = 5_000;

/**
 * Starts parts in order and gives the ones that were started: all, or fewer when `signal` is aborted
 * on the way. When one fails, stops the ones before it (and itself) and rethrows.
 */
export async function startAll(
  parts: readonly Part[],
  logger: Logger,
  signal?: AbortSignal,
): Promise<readonly Part[]> {
  const begun: Part[] = [];
  try {
    for (const part of parts) {
      if (signal?.aborted === true) break;
      begun.push(part);
      await part.start();
    }
  } catch (thrown) {
    await stopAll(begun, logger);
    throw thrown;
  }
  return begun;
}

/**
 * Stops parts in reverse order. One that fails, or takes longer than `limitMs`, is logged and does not
 * hold up the rest. Never rejects.
 */
export async function stopAll(
  parts: readonly Part[],
  logger: Logger,
  limitMs: number = PART_STOP_LIMIT_MS,
): Promise<void> {
  for (const part of [...parts].reverse()) {
    try {
      await within(limitMs, () => part.stop());
    } catch (err) {
      logger.error("a part did not stop in order", { part: part.name, err });
    }
  }
}

async function within(limitMs: number, work: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not stopped after ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([work(), limit]);
  } finally {
    clearTimeout(timer);
  }
}
