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

/** Starts parts in order; when one fails, stops the ones before it (and itself) and rethrows. */
export async function startAll(parts: readonly Part[], logger: Logger): Promise<void> {
  const begun: Part[] = [];
  try {
    for (const part of parts) {
      begun.push(part);
      await part.start();
    }
  } catch (thrown) {
    await stopAll(begun, logger);
    throw thrown;
  }
}

/** Stops parts in reverse order; one that fails is logged and does not hold up the rest. */
export async function stopAll(parts: readonly Part[], logger: Logger): Promise<void> {
  for (const part of [...parts].reverse()) {
    try {
      await part.stop();
    } catch (err) {
      logger.error("a part did not stop in order", { part: part.name, err });
    }
  }
}
