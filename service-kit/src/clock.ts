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

/** Longest wait of a Node timer (2^31 - 1 ms, 24.8 days); it fires at once when asked for more. */
const LONGEST_TIMER_MS = 2_147_483_647;

/**
 * Waits `ms` milliseconds (at most 24.8 days) or until the signal is aborted, whichever comes first.
 * Never rejects.
 */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  try {
    await delay(Math.min(ms, LONGEST_TIMER_MS), undefined, { signal });
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  }
}
