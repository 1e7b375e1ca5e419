/** Bounds of a reconnect or restart delay. */
export interface BackoffOptions {
  /** Longest delay after the first failure, in ms. */
  readonly firstMs: number;
  /** Longest delay ever, in ms. */
  readonly capMs: number;
  /** Source of randomness in [0, 1); Math.random by default. */
  readonly random?: () => number;
}

/**
 * Delay before attempt `failures + 1` (1 or more failures in a row), in ms: jitter over a doubling cap,
 * at least a quarter of it, so that 1,000 agents that lost the same server do not come back in the
 * same instant.
 */
export function backoffMs(failures: number, options: BackoffOptions): number {
  const cap = Math.min(
    options.capMs,
    options.firstMs * 2 ** Math.min(Math.max(failures - 1, 0), 30),
  );
  const random = options.random ?? Math.random;
  return cap * (0.25 + 0.75 * random());
}
