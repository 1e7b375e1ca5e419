import { setTimeout as delay } from "node:timers/promises";

/** Time as the programs see it; tests pass one that they move by hand. */
export interface Clock {
  /** Monotonic milliseconds, for durations, ages and deadlines. Never compare across processes. */
  nowMs(): number;
  /** Wall-clock time in ISO 8601, for people only. */
  timestamp(): string;
}

/** The machine's clock. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  timestamp: () => new Date().toISOString(),
};

/** Waits `ms` milliseconds or until the signal is aborted, whichever comes first. Never rejects. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    await delay(ms, undefined, { signal });
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  }
}
