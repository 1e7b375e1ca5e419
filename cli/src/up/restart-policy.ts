/** How a program that exits is restarted. All times in ms. */
export interface RestartLimits {
  /** Delay before the first restart; doubles with each further one. */
  readonly firstDelayMs: number;
  /** Longest delay. */
  readonly capMs: number;
  /** A life of at least this long starts the delays over. */
  readonly steadyMs: number;
  /** Failed starts in a row after which restarting is pointless; of a program that has never been up it is one. */
  readonly failedStartLimit: number;
}

/** What `berth up` uses. */
export const RESTART_LIMITS: RestartLimits = {
  firstDelayMs: 200,
  capMs: 5_000,
  steadyMs: 10_000,
  failedStartLimit: 3,
};

/** What is remembered of a program between its lives. */
export interface RestartState {
  /** Restarts since the last steady life. */
  readonly restarts: number;
  /** Failed starts in a row. */
  readonly failedStarts: number;
  /** Whether it was up in any of its lives. */
  readonly everUp: boolean;
}

/** State of a program that never ran. */
export const FRESH_STATE: RestartState = { restarts: 0, failedStarts: 0, everUp: false };

/** What to do with a program that exited. */
export type RestartVerdict =
  | { readonly kind: "restart"; readonly delayMs: number; readonly state: RestartState }
  | { readonly kind: "give-up"; readonly failures: number };

/** What counts of a life that ended. */
export interface EndedLife {
  readonly livedMs: number;
  /** Whether the program was ever up. An end before that is a failed start, however long it took. */
  readonly wasUp: boolean;
  /** Whether a signal ended it: nothing is known then of whether it can start. */
  readonly wasKilled: boolean;
}

/**
 * Decides what follows a life that nobody asked to end. A program whose very first start fails cannot run
 * here (its port is taken, its database is damaged): starting it again is pointless. One that was up is always
 * started again, and so are its starts after that, up to the limit: what they need may come back.
 */
export function afterExit(
  state: RestartState,
  { livedMs, wasUp, wasKilled }: EndedLife,
  limits: RestartLimits = RESTART_LIMITS,
): RestartVerdict {
  const failedStarts = wasUp ? 0 : state.failedStarts + 1;
  const everUp = state.everUp || wasUp;
  const limit = everUp || wasKilled ? limits.failedStartLimit : 1;
  if (failedStarts >= limit) return { kind: "give-up", failures: failedStarts };
  const restarts = livedMs >= limits.steadyMs ? 0 : state.restarts;
  const doubled = limits.firstDelayMs * 2 ** Math.min(restarts, 30);
  return {
    kind: "restart",
    delayMs: Math.min(limits.capMs, doubled),
    state: { restarts: restarts + 1, failedStarts, everUp },
  };
}
