import type { Direction, FlapBudget, GuardRules, RatePolicy } from "./guard-rules.ts";
import type { RateLimit } from "./rate-limit.ts";

const PERCENT = 100;
const SECOND_MS = 1_000;
const TENTHS = 10;

/** A count for people: "12,000". */
export function countText(count: number): string {
  return count.toLocaleString("en-US");
}

/** A share for people, of 1: "10 %", "0.5 %". */
export function percentText(share: number): string {
  return `${Number((share * PERCENT).toPrecision(4))} %`;
}

/** Whole seconds of a time in milliseconds for people: "40 s", "1 min 30 s", "2 h". */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / SECOND_MS));
  const parts = [
    { count: Math.floor(seconds / 3_600), unit: "h" },
    { count: Math.floor(seconds / 60) % 60, unit: "min" },
    { count: seconds % 60, unit: "s" },
  ].filter(({ count }) => count > 0);
  if (parts.length === 0) return "0 s";
  return parts.map(({ count, unit }) => `${count} ${unit}`).join(" ");
}

const secondsText = (seconds: number): string => durationText(seconds * SECOND_MS);
const scaled = (direction: Direction): string => `scale-${direction}`;
const replicasText = (count: number): string =>
  `${countText(count)} ${count === 1 ? "replica" : "replicas"}`;

/**
 * How far a count is off another one, for people, never rounded up: "9.5 %" must not read "10 %"
 * where 10 % would be enough.
 */
function differenceText(count: number, base: number): string {
  const thousandths = Math.floor((Math.abs(count - base) * PERCENT * TENTHS) / base);
  return thousandths === 0 ? "less than 0.1 %" : `${countText(thousandths / TENTHS)} %`;
}

function policyText({ kind, value, periodSeconds }: RatePolicy, direction: Direction): string {
  const amount = kind === "replicas" ? replicasText(value) : `${countText(value)} %`;
  const course = direction === "up" ? "more" : "fewer";
  return `at most ${amount} ${course} within ${secondsText(periodSeconds)}`;
}

/**
 * Every reason for which a guard changes or stops something, as parts of a sentence with its
 * numbers.
 */
export const REASON_TEXTS = {
  paused: () => "paused",
  /** `ageMs` is undefined when nobody knows it. */
  staleInput: (ageMs: number | undefined, { staleAfterSeconds, onStale }: GuardRules) => {
    const limit = secondsText(staleAfterSeconds);
    const age =
      ageMs === undefined
        ? `the age of the input is not known, expected up to ${limit}`
        : `the input is ${secondsText(Math.ceil(ageMs / SECOND_MS))} old, expected up to ${limit}`;
    return onStale === "hold" ? age : `${age}, no scale-down`;
  },
  busy: () => "a request is under way",
  bound: (name: "min_replicas" | "max_replicas", bound: number) => `${name} ${countText(bound)}`,
  outOfBounds: (name: "min_replicas" | "max_replicas", bound: number, current: number) =>
    `${name} ${countText(bound)}, ${countText(current)} desired until now`,
  tolerance: (target: number, base: number, tolerance: number) =>
    `${differenceText(target, base)} off ${countText(base)}, tolerance ${percentText(tolerance)}`,
  stabilization: (
    direction: Direction,
    { replicas, agoMs }: { readonly replicas: number; readonly agoMs: number },
    seconds: number,
  ) => {
    const wish = `${countText(replicas)} wanted ${durationText(agoMs)} ago`;
    return `${wish}, ${scaled(direction)} stabilization ${secondsText(seconds)}`;
  },
  rateLimit: (direction: Direction, { policy, start }: RateLimit) =>
    `${policyText(policy, direction)}, ${countText(start)} at its start`,
  disabled: (direction: Direction) => `${scaled(direction)} is disabled`,
  cooldown: (direction: Direction, agoMs: number, seconds: number) =>
    `last ${scaled(direction)} ${durationText(agoMs)} ago, cooldown ${secondsText(seconds)}`,
  flapBudget: (reversals: number, { maxReversals, windowSeconds }: FlapBudget) => {
    const changes = `${countText(reversals)} ${reversals === 1 ? "change" : "changes"}`;
    const window = secondsText(windowSeconds);
    return `${changes} of direction within ${window}, budget ${countText(maxReversals)}`;
  },
  replicasAbove: (replicas: number, limit: number) =>
    `${replicasText(replicas)}, approval above ${countText(limit)}`,
  changeAbove: (change: number, limit: number) =>
    `a change by ${replicasText(change)}, approval above ${countText(limit)}`,
  shadow: () => "shadow mode",
} as const;

/** What a verdict comes to, as its sentence needs it. */
export interface Outcome {
  readonly kind: "keep" | "change" | "needs_approval" | "shadow";
  readonly wanted: number;
  readonly current: number;
  readonly replicas: number;
  /** The last rule that bounded or stopped the change, if one did. */
  readonly limit: { readonly rule: string; readonly why: string } | undefined;
  /** Why approval is needed, if it is. */
  readonly approval: string | undefined;
}

/** One sentence for a whole verdict. */
export function outcomeSentence(outcome: Outcome): string {
  const { kind, limit } = outcome;
  const [wanted, current] = [countText(outcome.wanted), countText(outcome.current)];
  const course = `from ${current} to ${countText(outcome.replicas)}`;
  if (kind === "keep") {
    if (limit === undefined) return `no change: ${current} wanted, ${current} desired`;
    const isNone = outcome.wanted === outcome.current || limit.rule === "tolerance";
    return isNone
      ? `no change: ${limit.why}`
      : `wanted ${wanted}, kept at ${current}: ${limit.why}`;
  }
  const bounded = limit === undefined ? "" : `: ${limit.why}`;
  if (kind === "shadow") return `shadow: wanted ${wanted}, would go ${course}${bounded}`;
  if (kind === "needs_approval") {
    const why = outcome.approval ?? "approval";
    const because = limit === undefined ? why : `${why}; ${limit.why}`;
    return `wanted ${wanted}, going ${course} needs approval: ${because}`;
  }
  return `wanted ${wanted}, going ${course}${bounded}`;
}
