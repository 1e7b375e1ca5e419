import type { Direction, GuardRules } from "./guard-rules.ts";

/** Most recommendations of one subject that are remembered. */
export const MAX_RECOMMENDATIONS = 128;

/**
 * What was wanted for a subject: one recommendation, or several that were merged. Merged ones are
 * as old as the newest of them, so that they hold changes for longer, never for less long.
 */
export interface Recommendation {
  /** Unix time in milliseconds. */
  readonly atMs: number;
  /** Fewest replicas that were wanted. */
  readonly lowest: number;
  /** Most replicas that were wanted. */
  readonly highest: number;
}

/**
 * The recommendations, oldest first, that the stabilization of a later moment may look at: those
 * within its window that no later one makes superfluous. At most {@link MAX_RECOMMENDATIONS}; the
 * oldest ones are merged.
 */
export function neededRecommendations(
  all: readonly Recommendation[],
  rules: GuardRules,
  nowMs: number,
): readonly Recommendation[] {
  const upMs = nowMs - 1_000 * rules.scaleUp.stabilizationSeconds;
  const downMs = nowMs - 1_000 * rules.scaleDown.stabilizationSeconds;
  const needed: Recommendation[] = [];
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  for (const one of all.toReversed()) {
    const isLow = one.atMs > upMs && one.lowest < lowest;
    const isHigh = one.atMs > downMs && one.highest > highest;
    if (isLow || isHigh) needed.push(one);
    lowest = Math.min(lowest, one.lowest);
    highest = Math.max(highest, one.highest);
  }
  return mergedRecommendations(needed.reverse(), MAX_RECOMMENDATIONS);
}

/** At most `most` entries (from 1): what is too many is merged into the oldest one that stays. */
export function mergedRecommendations(
  all: readonly Recommendation[],
  most: number,
): readonly Recommendation[] {
  const surplus = all.length - most;
  if (surplus <= 0) return all;
  const merged = all.slice(0, surplus + 1).reduce((older, newer) => ({
    atMs: newer.atMs,
    lowest: Math.min(older.lowest, newer.lowest),
    highest: Math.max(older.highest, newer.highest),
  }));
  return [merged, ...all.slice(surplus + 1)];
}

/**
 * The most careful recommendation since a moment, that moment not included: the lowest for
 * scale-up, the highest for scale-down, and when it was made last. Undefined without any.
 */
export function mostCareful(
  all: readonly Recommendation[],
  direction: Direction,
  sinceMs: number,
): { readonly atMs: number; readonly replicas: number } | undefined {
  let found: { readonly atMs: number; readonly replicas: number } | undefined;
  for (const { atMs, lowest, highest } of all) {
    if (atMs <= sinceMs) continue;
    const replicas = direction === "up" ? lowest : highest;
    const isLess = found !== undefined && replicas > found.replicas;
    const isMore = found !== undefined && replicas < found.replicas;
    if (direction === "up" ? isLess : isMore) continue;
    found = { atMs, replicas };
  }
  return found;
}
