import { mixedShare } from "./mixed-hash.ts";

/** How the GPUs of a simulated fleet are used. */
export const LOAD_PATTERNS = ["idle", "steady", "waves", "busy"] as const;

/** One of {@link LOAD_PATTERNS}. */
export type LoadPattern = (typeof LOAD_PATTERNS)[number];

/** How much of a device is in use, as shares in [0, 1]. */
export interface Load {
  /** Of its time. */
  readonly compute: number;
  /** Of its memory. */
  readonly memory: number;
}

/** Noise is drawn anew for each step of this length. */
const STEP_MS = 1_000;
const NOISE = 0.05;
const WAVE_PERIOD_S = { min: 40, spread: 80 };

/**
 * Load of a device at a moment of the simulation; the same seed and moment give the same load, whatever
 * was asked before. `idle`: next to none. `steady`: each device at a level of its own. `waves`: up and
 * down in 40 to 120 s. `busy`: full.
 */
export function loadAt(pattern: LoadPattern, seed: number, atMs: number): Load {
  const step = Math.floor(atMs / STEP_MS);
  const noise = (mixedShare(seed, step + 16) - 0.5) * 2 * NOISE;
  const own = mixedShare(seed, 1);
  if (pattern === "idle")
    return { compute: share(own * 0.02 + noise / 4), memory: 0.01 + own / 50 };
  if (pattern === "busy") return { compute: share(0.97 + noise), memory: 0.85 + own / 10 };
  if (pattern === "steady")
    return { compute: share(0.3 + own * 0.6 + noise), memory: 0.3 + own / 2 };
  const periodS = WAVE_PERIOD_S.min + WAVE_PERIOD_S.spread * mixedShare(seed, 2);
  const turn = own + atMs / 1_000 / periodS;
  const wave = (Math.sin(2 * Math.PI * turn) + 1) / 2;
  return { compute: share(wave + noise), memory: 0.05 + 0.85 * wave };
}

function share(value: number): number {
  return Math.min(1, Math.max(0, value));
}
