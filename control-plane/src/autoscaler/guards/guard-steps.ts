import { lastChangeMs, reversalsSince } from "./change-spans.ts";
import { type Direction, type GuardRules, rulesOf } from "./guard-rules.ts";
import { rateLimit } from "./rate-limit.ts";
import { REASON_TEXTS } from "./reason-texts.ts";
import { mostCareful } from "./recommendations.ts";
import type { SubjectHistory } from "./subject-history.ts";

/** What can change or stop a request, in the order in which it is asked. */
export type RuleName =
  | "paused"
  | "stale_input"
  | "busy"
  | "min_replicas"
  | "max_replicas"
  | "tolerance"
  | "stabilization"
  | "rate_limit"
  | "cooldown"
  | "flap_budget"
  | "approval"
  | "shadow";

/** What one rule did. */
export interface GuardStep {
  readonly rule: RuleName;
  /** Replicas that would have been asked for without the rule. */
  readonly from: number;
  /** Replicas after it; the same when the rule only asks for approval, or for no effect. */
  readonly to: number;
  /** Part of a sentence, with numbers. */
  readonly why: string;
}

/** Fewest and most replicas of a subject. */
export interface ReplicaBounds {
  readonly min: number;
  readonly max: number;
}

/** What the rules look at. */
export interface Situation {
  /** Replicas that are desired now. */
  readonly current: number;
  /** The same within the bounds: where tolerance, stabilization and cooldown hold a subject. */
  readonly base: number;
  readonly bounds: ReplicaBounds;
  readonly inputAgeMs: number | undefined;
  readonly isBusy: boolean;
  readonly history: SubjectHistory;
  readonly rules: GuardRules;
  readonly nowMs: number;
}

/** One rule: what it does to a target, undefined for nothing. */
export type GuardStepRule = (target: number, situation: Situation) => GuardStep | undefined;

/** Rules that end everything before bounds are looked at. The target is what is wanted. */
export const STOPS: readonly GuardStepRule[] = [paused, staleInput, busy];

/** Rules that bound a change. Tolerance is asked again about what stabilization leaves of it. */
export const LIMITS: readonly GuardStepRule[] = [
  ...[withinBounds, tolerance, stabilization, tolerance, withinRates, cooldown, flapBudget],
];

/** A count brought within bounds. */
export function clamped(count: number, { min, max }: ReplicaBounds): number {
  return Math.min(max, Math.max(min, count));
}

/**
 * Whether input of an age in milliseconds is too old for a decision. What nobody knows the age of
 * is.
 */
export function isStale(
  inputAgeMs: number | undefined,
  { staleAfterSeconds }: GuardRules,
): boolean {
  return inputAgeMs === undefined || !(inputAgeMs <= 1_000 * staleAfterSeconds);
}

/**
 * Why a person has to approve a change, undefined when nobody has to. Fewer replicas are never too
 * many.
 */
export function approvalStep(
  target: number,
  { current, rules: { approval } }: Situation,
): GuardStep | undefined {
  const { replicasAbove = Number.POSITIVE_INFINITY, changeAbove = Number.POSITIVE_INFINITY } =
    approval;
  const step = (why: string): GuardStep => ({ rule: "approval", from: target, to: target, why });
  if (target > current && target > replicasAbove) {
    return step(REASON_TEXTS.replicasAbove(target, replicasAbove));
  }
  const change = Math.abs(target - current);
  return change > changeAbove ? step(REASON_TEXTS.changeAbove(change, changeAbove)) : undefined;
}

function paused(target: number, { current, rules }: Situation): GuardStep | undefined {
  if (!rules.isPaused) return undefined;
  return { rule: "paused", from: target, to: current, why: REASON_TEXTS.paused() };
}

function staleInput(
  target: number,
  { current, bounds, inputAgeMs, rules }: Situation,
): GuardStep | undefined {
  if (!isStale(inputAgeMs, rules)) return undefined;
  // A count above the maximum stays, too: "no scale-down" has no exception.
  if (rules.onStale === "no_scale_down" && clamped(target, bounds) >= current) return undefined;
  const why = REASON_TEXTS.staleInput(inputAgeMs, rules);
  return { rule: "stale_input", from: target, to: current, why };
}

function busy(target: number, { current, isBusy }: Situation): GuardStep | undefined {
  if (!isBusy) return undefined;
  return { rule: "busy", from: target, to: current, why: REASON_TEXTS.busy() };
}

function withinBounds(target: number, { current, base, bounds }: Situation): GuardStep | undefined {
  const to = clamped(target, bounds);
  if (to === target && base === current) return undefined;
  const isMax = current > bounds.max || (current >= bounds.min && target > bounds.max);
  const [rule, bound] = isMax
    ? (["max_replicas", bounds.max] as const)
    : (["min_replicas", bounds.min] as const);
  const why =
    base === current
      ? REASON_TEXTS.bound(rule, bound)
      : REASON_TEXTS.outOfBounds(rule, bound, current);
  return { rule, from: target, to, why };
}

function tolerance(target: number, { base, rules }: Situation): GuardStep | undefined {
  // Of no replicas every difference is a large one.
  if (target === base || base === 0) return undefined;
  if (Math.abs(target - base) / base >= rules.tolerance) return undefined;
  const why = REASON_TEXTS.tolerance(target, base, rules.tolerance);
  return { rule: "tolerance", from: target, to: base, why };
}

function stabilization(
  target: number,
  { base, history, rules, nowMs }: Situation,
): GuardStep | undefined {
  const direction = directionOf(base, target);
  if (direction === undefined) return undefined;
  const seconds = rulesOf(rules, direction).stabilizationSeconds;
  const found = mostCareful(history.recommendations, direction, nowMs - 1_000 * seconds);
  if (found === undefined) return undefined;
  // Both ends are within the bounds, and so is what lies between them, whatever was wanted once.
  const to =
    direction === "up"
      ? Math.max(base, Math.min(target, found.replicas))
      : Math.min(base, Math.max(target, found.replicas));
  if (to === target) return undefined;
  const wanted = { replicas: found.replicas, agoMs: nowMs - found.atMs };
  const why = REASON_TEXTS.stabilization(direction, wanted, seconds);
  return { rule: "stabilization", from: target, to, why };
}

function withinRates(
  target: number,
  { current, history, rules, nowMs }: Situation,
): GuardStep | undefined {
  const direction = directionOf(current, target);
  if (direction === undefined) return undefined;
  const ofDirection = rulesOf(rules, direction);
  const step = (to: number, why: string): GuardStep => ({
    ...{ rule: "rate_limit", from: target, to, why },
  });
  if (ofDirection.select === "disabled") return step(current, REASON_TEXTS.disabled(direction));
  const { changes } = history;
  const limit = rateLimit({ rules: ofDirection, direction, current, changes, nowMs });
  if (limit === undefined) return undefined;
  // A limit that was passed already holds; it never turns a change round.
  const to =
    direction === "up"
      ? Math.min(target, Math.max(current, limit.replicas))
      : Math.max(target, Math.min(current, limit.replicas));
  return to === target ? undefined : step(to, REASON_TEXTS.rateLimit(direction, limit));
}

function cooldown(
  target: number,
  { base, bounds, history, rules, nowMs }: Situation,
): GuardStep | undefined {
  // A target that the rates keep outside of the bounds is on its way inside, which has no cooldown.
  const direction = clamped(target, bounds) === target ? directionOf(base, target) : undefined;
  if (direction === undefined) return undefined;
  const lastMs = lastChangeMs(history.changes, direction);
  const { cooldownSeconds } = rulesOf(rules, direction);
  if (lastMs === undefined || nowMs - lastMs >= 1_000 * cooldownSeconds) return undefined;
  const why = REASON_TEXTS.cooldown(direction, nowMs - lastMs, cooldownSeconds);
  return { rule: "cooldown", from: target, to: base, why };
}

function flapBudget(
  target: number,
  { current, history, rules: { flapBudget: budget }, nowMs }: Situation,
): GuardStep | undefined {
  if (target === current) return undefined;
  const reversals = reversalsSince(history.changes, nowMs - 1_000 * budget.windowSeconds);
  if (reversals < budget.maxReversals) return undefined;
  const why = REASON_TEXTS.flapBudget(reversals, budget);
  return { rule: "flap_budget", from: target, to: current, why };
}

function directionOf(from: number, to: number): Direction | undefined {
  if (from === to) return undefined;
  return to > from ? "up" : "down";
}
