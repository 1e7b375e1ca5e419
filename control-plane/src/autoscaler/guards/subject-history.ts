import {
  type AcceptedChange,
  type ChangeSpan,
  MAX_CHANGE_SPANS,
  mergedSpans,
  spanOf,
  withoutOldRepeats,
} from "./change-spans.ts";
import { changesKeptMs, type GuardRules, longestPeriodMs } from "./guard-rules.ts";
import { neededRecommendations, type Recommendation } from "./recommendations.ts";

/**
 * What the guards remember of one subject, oldest first. Immutable, and bounded whatever happens:
 * at most `MAX_RECOMMENDATIONS` and `MAX_CHANGE_SPANS` entries.
 */
export interface SubjectHistory {
  /** What the workflow wanted, within the bounds of its time. */
  readonly recommendations: readonly Recommendation[];
  /** What was accepted and dispatched. */
  readonly changes: readonly ChangeSpan[];
}

/** The history of a subject of which nothing is known. */
export const NO_HISTORY: SubjectHistory = { recommendations: [], changes: [] };

/**
 * The history without what no rule can look at after `nowMs` (Unix time in milliseconds). What
 * seems to be of the future, because a clock was set back, counts as of now: it holds changes once
 * more, and not until that future.
 */
export function freshHistory(
  { recommendations, changes }: SubjectHistory,
  rules: GuardRules,
  nowMs: number,
): SubjectHistory {
  const keptSinceMs = nowMs - changesKeptMs(rules);
  const kept = changes
    .map((span) => spanBy(span, nowMs))
    .filter(({ lastMs }) => lastMs > keptSinceMs);
  const fewer = withoutOldRepeats(kept, nowMs - longestPeriodMs(rules));
  return {
    recommendations: neededRecommendations(
      recommendations.map((one) => (one.atMs > nowMs ? { ...one, atMs: nowMs } : one)),
      rules,
      nowMs,
    ),
    changes: mergedSpans(fewer, MAX_CHANGE_SPANS),
  };
}

/** The history after `replicas` were wanted at `atMs`, Unix time in milliseconds. */
export function withRecommendation(
  history: SubjectHistory,
  { atMs, replicas }: { readonly atMs: number; readonly replicas: number },
  rules: GuardRules,
): SubjectHistory {
  const latest = { atMs, lowest: replicas, highest: replicas };
  const recommendations = [...history.recommendations, latest];
  return freshHistory({ ...history, recommendations }, rules, atMs);
}

/**
 * The history after a change was accepted and dispatched. A change by nothing is not remembered;
 * one that is told after a later one is kept for as long as that.
 */
export function withChange(
  history: SubjectHistory,
  change: AcceptedChange,
  rules: GuardRules,
): SubjectHistory {
  const latestMs = Math.max(change.atMs, history.changes.at(-1)?.lastMs ?? change.atMs);
  const span = spanOf(change);
  const told = span === undefined ? [] : [{ ...span, lastMs: latestMs }];
  return freshHistory({ ...history, changes: [...history.changes, ...told] }, rules, latestMs);
}

function spanBy(span: ChangeSpan, nowMs: number): ChangeSpan {
  if (span.lastMs <= nowMs) return span;
  return { ...span, firstMs: Math.min(span.firstMs, nowMs), lastMs: nowMs };
}
