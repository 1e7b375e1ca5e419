import { BerthError } from "@berth/service-kit";
import type { GuardRules } from "./guard-rules.ts";
import {
  approvalStep,
  clamped,
  type GuardStep,
  isStale,
  LIMITS,
  type ReplicaBounds,
  type Situation,
  STOPS,
} from "./guard-steps.ts";
import { type Outcome, outcomeSentence, REASON_TEXTS } from "./reason-texts.ts";
import { freshHistory, type SubjectHistory, withRecommendation } from "./subject-history.ts";

/** What is asked of the guards about one subject in one evaluation. */
export interface GuardQuestion {
  readonly subjectId: string;
  /** Replicas that the workflow wants: a whole number from 0. */
  readonly wanted: number;
  /** Replicas that are desired now: a whole number from 0. */
  readonly current: number;
  readonly bounds: ReplicaBounds;
  /**
   * Age in milliseconds of the oldest input of the workflow; undefined, which counts as stale, when
   * not known.
   */
  readonly inputAgeMs: number | undefined;
  /** Whether a request for the subject is under way. */
  readonly isBusy: boolean;
  readonly history: SubjectHistory;
  readonly rules: GuardRules;
  /** Unix time in milliseconds. */
  readonly nowMs: number;
}

/** What may be done, and why. */
export interface Verdict {
  /**
   * `keep`: nothing to ask for. `change`: ask for `replicas`. `needs_approval`: the same, once a
   * person agrees. `shadow`: what would have been asked for, and is not.
   */
  readonly kind: Outcome["kind"];
  /** Replicas to ask for; of `keep` those that are desired now. */
  readonly replicas: number;
  readonly wanted: number;
  /** Each rule that changed or stopped something, in the order in which they were applied. */
  readonly steps: readonly GuardStep[];
  /** One sentence with the rule that decided, also for no change. */
  readonly why: string;
  /** What to remember of the subject. Whoever makes the change adds it with `withChange`. */
  readonly history: SubjectHistory;
}

/**
 * What stands between the replicas that a workflow wants and the request that is made. Pure: the
 * same question has the same verdict. The rules in their order: pause, stale input, a request under
 * way, bounds, tolerance, stabilization, rate policies, cooldown, flap budget, approval, shadow.
 *
 * Desired replicas outside of the bounds are brought inside without tolerance, stabilization and
 * cooldown; every other rule holds, so that it may take several changes, and none happens in a
 * direction that is disabled.
 *
 * INVALID_ARGUMENT names what is no whole number from 0, or bounds that exclude each other.
 */
export function guard(question: GuardQuestion): Verdict {
  checkQuestion(question);
  const { wanted, current, bounds, rules, nowMs } = question;
  const history = freshHistory(question.history, rules, nowMs);
  const situation = { ...question, history, base: clamped(current, bounds) };
  const limits = stepOfStops(wanted, situation) ?? stepsOfLimits(wanted, situation);
  const replicas = limits.at(-1)?.to ?? wanted;
  const marks = replicas === current ? [] : marksOf(replicas, situation);
  const approval = marks.find(({ rule }) => rule === "approval")?.why;
  const kind = kindOf({ replicas, current, rules, approval });
  // A rule that only says why a count outside of the bounds moves has not bounded what was wanted.
  const limit = kind === "keep" ? limits.at(-1) : limits.findLast(({ from, to }) => from !== to);
  return {
    ...{ kind, replicas, wanted, steps: [...limits, ...marks] },
    why: outcomeSentence({ kind, wanted, current, replicas, limit, approval }),
    history: remembered(question, history),
  };
}

/** What is wanted counts for later unless it is of stale input that nothing is decided upon. */
function remembered(
  { wanted, bounds, inputAgeMs, rules, nowMs }: GuardQuestion,
  history: SubjectHistory,
): SubjectHistory {
  if (rules.onStale === "hold" && isStale(inputAgeMs, rules)) return history;
  return withRecommendation(history, { atMs: nowMs, replicas: clamped(wanted, bounds) }, rules);
}

function stepOfStops(wanted: number, situation: Situation): readonly GuardStep[] | undefined {
  for (const rule of STOPS) {
    const step = rule(wanted, situation);
    if (step !== undefined) return [step];
  }
  return undefined;
}

function stepsOfLimits(wanted: number, situation: Situation): readonly GuardStep[] {
  const steps: GuardStep[] = [];
  let target = wanted;
  for (const rule of LIMITS) {
    const step = rule(target, situation);
    if (step === undefined) continue;
    steps.push(step);
    target = step.to;
  }
  return steps;
}

/** Steps that leave the count as it is, and yet keep it from being asked for. */
function marksOf(replicas: number, situation: Situation): readonly GuardStep[] {
  const approval = approvalStep(replicas, situation);
  const { isShadow } = situation.rules;
  return [
    ...(approval === undefined ? [] : [approval]),
    ...(isShadow
      ? [{ rule: "shadow" as const, from: replicas, to: replicas, why: REASON_TEXTS.shadow() }]
      : []),
  ];
}

function kindOf({
  replicas,
  current,
  rules,
  approval,
}: {
  readonly replicas: number;
  readonly current: number;
  readonly rules: GuardRules;
  readonly approval: string | undefined;
}): Verdict["kind"] {
  if (replicas === current) return "keep";
  if (rules.isShadow) return "shadow";
  return approval === undefined ? "change" : "needs_approval";
}

function checkQuestion({ subjectId, wanted, current, bounds, nowMs }: GuardQuestion): void {
  const refuse = (message: string) =>
    new BerthError("INVALID_ARGUMENT", `subject ${JSON.stringify(subjectId)}: ${message}`);
  const counts = { wanted, current, min_replicas: bounds.min, max_replicas: bounds.max };
  for (const [name, count] of Object.entries(counts)) {
    if (Number.isSafeInteger(count) && count >= 0) continue;
    throw refuse(`${name}: expected a whole number from 0, got ${count}`);
  }
  if (!Number.isFinite(nowMs)) throw refuse(`the time: expected a number, got ${nowMs}`);
  if (bounds.min <= bounds.max) return;
  throw refuse(`min_replicas: expected at most max_replicas, ${bounds.max}, got ${bounds.min}`);
}
