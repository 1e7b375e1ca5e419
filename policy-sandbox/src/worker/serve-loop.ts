import { Watchdog, WatchdogError } from "./watchdog.ts";

/** What a worker does over and over. */
export interface Turns {
  /**
   * Waits for the next turn and leaves a byte other than 0 in `bell` when it has come; it may be stopped at any
   * moment, and the byte tells whether it was too late.
   */
  readonly wait: (bell: Uint8Array) => void;
  /** Whether the turn that this byte announces ends within `turnMs`; another one watches over itself. */
  readonly isShort: (bell: number) => boolean;
  /** Takes the turn that the byte announced. */
  readonly take: (bell: number) => void;
}

/** How long the watchdog lets a worker go on. */
export interface WatchTimes {
  /** One native thread is started for so long, not for each turn: starting it costs more than a short turn. */
  readonly sessionMs: number;
  /** What every short turn gets at least. */
  readonly turnMs: number;
}

/**
 * Takes turn after turn until one throws, watched: a short turn that does not end within `sessionMs` is
 * stopped with `WatchdogError`, whatever runs in it. Waiting for a turn has no limit: a session that ends
 * while nothing runs is followed by the next one.
 */
export function serveTurns(turns: Turns, times: WatchTimes): never {
  const watchdog = new Watchdog();
  const bell = new Uint8Array(1);
  const state = { busy: false };
  const take = () => {
    const rung = bell[0] ?? 0;
    bell[0] = 0;
    state.busy = true;
    turns.take(rung);
    state.busy = false;
  };
  const session = () => {
    const endsAt = performance.now() + times.sessionMs - times.turnMs;
    for (;;) {
      if (bell[0] === 0) turns.wait(bell);
      // Whoever comes too late for this session, or does not belong in one, finds the byte still there.
      if (performance.now() >= endsAt || !turns.isShort(bell[0] ?? 0)) return;
      take();
    }
  };
  for (;;) {
    if (bell[0] === 0) turns.wait(bell);
    if (!turns.isShort(bell[0] ?? 0)) {
      take();
      continue;
    }
    try {
      watchdog.run(session, times.sessionMs);
    } catch (error) {
      if (!(error instanceof WatchdogError) || state.busy) throw error;
    }
  }
}
