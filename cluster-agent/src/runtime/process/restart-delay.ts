import { type BackoffOptions, backoffMs } from "@berth/service-kit";

/** Delay before a program that ended is started again, and when it counts as sound again. */
export interface RestartRules extends BackoffOptions {
  /** A program that ran for as long starts the delays from the first one again, in ms. */
  readonly soundAfterMs: number;
}

/** 1 s, doubling up to 60 s; from the first one again after 60 s of running. */
export const RESTART_RULES: RestartRules = {
  firstMs: 1_000,
  capMs: 60_000,
  soundAfterMs: 60_000,
};

/** Failures in a row, now that a program ended that had run for `ranMs`. */
export function failuresAfter(failures: number, ranMs: number, rules: RestartRules): number {
  return ranMs >= rules.soundAfterMs ? 1 : failures + 1;
}

/** Delay before the next start, in ms: a quarter to the whole of the bound for so many failures in a row. */
export function restartDelayMs(failures: number, rules: RestartRules): number {
  return failures === 0 ? 0 : backoffMs(failures, rules);
}
