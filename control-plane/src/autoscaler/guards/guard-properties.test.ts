import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AcceptedChange, MAX_CHANGE_SPANS } from "./change-spans.ts";
import { type GuardQuestion, guard, type Verdict } from "./guard.ts";
import type { DirectionRules, GuardRules, RatePolicy } from "./guard-rules.ts";
import { clamped, type ReplicaBounds } from "./guard-steps.ts";
import { MAX_RECOMMENDATIONS } from "./recommendations.ts";
import { NO_HISTORY, withChange } from "./subject-history.ts";

const MOST = 40;
const toMs = (seconds: number): number => 1_000 * seconds;

interface Tick {
  readonly gapSeconds: number;
  readonly wanted: number;
  /** Ticks until the request of this tick is accepted; 0 accepts it at once. */
  readonly delay: number;
  readonly inputAgeSeconds: number | undefined;
  readonly isPaused: boolean;
  readonly hasOtherBounds: boolean;
  readonly isApproved: boolean;
  /** How much of a change comes true, 0 to 1: less than 1 where it fails or is partial. */
  readonly share: number;
  /** Replicas that a person sets before the tick. */
  readonly byHand: number | undefined;
}

interface Course {
  readonly start: number;
  readonly bounds: readonly [ReplicaBounds, ReplicaBounds];
  readonly rules: GuardRules;
  readonly ticks: readonly Tick[];
}

interface There {
  readonly atMs: number;
  readonly replicas: number;
  readonly isByHand: boolean;
}

/**
 * One question with its verdict, and what really happened before: told by the course, not by the
 * history.
 */
interface Turn {
  readonly question: GuardQuestion;
  readonly verdict: Verdict;
  /** Changes of the autoscaler until then. */
  readonly made: readonly AcceptedChange[];
  /** Replicas at the start, and after each change until then, also by hand. */
  readonly there: readonly There[];
  /** What was wanted until then, this turn included, as far as it could have been acted upon. */
  readonly told: readonly { readonly atMs: number; readonly replicas: number }[];
}

const seldom = fc.nat(9).map((chance) => chance === 0);
const between = (min: number, max: number) => fc.integer({ min, max });

const policy: fc.Arbitrary<RatePolicy> = fc.record({
  kind: fc.constantFrom("replicas", "percent"),
  value: between(1, 60),
  periodSeconds: between(1, 60),
});

const directionRules: fc.Arbitrary<DirectionRules> = fc.record({
  stabilizationSeconds: fc.oneof(fc.constant(0), fc.nat(120)),
  cooldownSeconds: fc.oneof(fc.constant(0), fc.nat(60)),
  ratePolicies: fc.array(policy, { maxLength: 3 }),
  select: fc.constantFrom("max", "max", "min", "min", "disabled"),
});

const rules: fc.Arbitrary<GuardRules> = fc.record({
  tolerance: fc.constantFrom(0, 0.1, 0.3, 1),
  scaleUp: directionRules,
  scaleDown: directionRules,
  flapBudget: fc.record({ maxReversals: between(1, 4), windowSeconds: between(1, 300) }),
  staleAfterSeconds: fc.constant(60),
  onStale: fc.constantFrom("hold", "no_scale_down"),
  approval: fc.record(
    { replicasAbove: fc.nat(MOST), changeAbove: fc.nat(MOST) },
    { requiredKeys: [] },
  ),
  isPaused: fc.constant(false),
  isShadow: fc.nat(3).map((chance) => chance === 0),
});

const tick: fc.Arbitrary<Tick> = fc.record({
  gapSeconds: fc.nat(30),
  wanted: fc.nat(MOST),
  delay: fc.constantFrom(0, 0, 0, 1, 3),
  inputAgeSeconds: fc.constantFrom(0, 0, 0, 60, 61, undefined),
  isPaused: seldom,
  hasOtherBounds: seldom,
  isApproved: fc.boolean(),
  share: fc.constantFrom(1, 1, 1, 1, 0, 0.5),
  byHand: fc.oneof(
    { weight: 9, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.nat(MOST) },
  ),
});

const bounds: fc.Arbitrary<ReplicaBounds> = fc
  .tuple(fc.nat(MOST), fc.nat(MOST))
  .map(([one, other]) => ({ min: Math.min(one, other), max: Math.max(one, other) }));

const course: fc.Arbitrary<Course> = fc.record({
  start: fc.nat(MOST),
  bounds: fc.tuple(bounds, bounds),
  rules,
  // Most are short, so that there are many; some are long enough for what adds up.
  ticks: fc.oneof(
    { weight: 3, arbitrary: fc.array(tick, { minLength: 1, maxLength: 40, size: "max" }) },
    { weight: 1, arbitrary: fc.array(tick, { minLength: 1, maxLength: 200, size: "max" }) },
  ),
});

/**
 * Lets the guards decide tick after tick, and makes the changes that they allow at once or some
 * ticks later.
 */
function turnsOf({ start, bounds: [usual, other], rules: always, ticks }: Course): readonly Turn[] {
  const turns: Turn[] = [];
  const made: AcceptedChange[] = [];
  const told: { readonly atMs: number; readonly replicas: number }[] = [];
  let [current, nowMs, history] = [start, 1_000_000_000, NO_HISTORY];
  let pending: { readonly to: number; readonly dueIn: number } | undefined;
  const there: There[] = [{ atMs: nowMs, replicas: current, isByHand: false }];
  const accept = (wanted: number, share: number) => {
    const to = current + Math.trunc((wanted - current) * share);
    const change = { atMs: nowMs, from: current, to };
    made.push(...[change].filter((one) => one.from !== one.to));
    there.push({ atMs: nowMs, replicas: to, isByHand: false });
    history = withChange(history, change, always);
    [current, pending] = [to, undefined];
  };
  const setByHand = (replicas = current) => {
    if (replicas !== current) there.push({ atMs: nowMs, replicas, isByHand: true });
    current = replicas;
  };
  for (const one of ticks) {
    nowMs += 1_000 * one.gapSeconds;
    setByHand(one.byHand);
    if (pending?.dueIn === 0) accept(pending.to, one.share);
    const isBusy = pending !== undefined;
    const question = questionOf(one, {
      ...{ subjectId: "s", current, isBusy, history, nowMs },
      bounds: one.hasOtherBounds ? other : usual,
      rules: always,
    });
    const verdict = guard(question);
    if (isHeeded(question)) {
      told.push({ atMs: nowMs, replicas: clamped(one.wanted, question.bounds) });
    }
    turns.push({ question, verdict, made: [...made], there: [...there], told: [...told] });
    ({ history } = verdict);
    if (pending !== undefined) pending = { ...pending, dueIn: pending.dueIn - 1 };
    else if (isAsked(one, verdict)) {
      if (one.delay === 0) accept(verdict.replicas, one.share);
      else pending = { to: verdict.replicas, dueIn: one.delay - 1 };
    }
  }
  return turns;
}

function questionOf(
  { wanted, inputAgeSeconds: age, isPaused }: Tick,
  rest: Omit<GuardQuestion, "wanted" | "inputAgeMs">,
): GuardQuestion {
  const inputAgeMs = age === undefined ? undefined : toMs(age);
  return { ...rest, wanted, inputAgeMs, rules: { ...rest.rules, isPaused } };
}

function isStale({ inputAgeMs }: GuardQuestion): boolean {
  return inputAgeMs === undefined || inputAgeMs > 60_000;
}

function isAsked({ isApproved }: Tick, { kind }: Verdict): boolean {
  return kind === "change" || (kind === "needs_approval" && isApproved);
}

/** Whether what is wanted could be acted upon. */
function isHeeded(question: GuardQuestion): boolean {
  return question.rules.onStale !== "hold" || !isStale(question);
}

/** Checks something in every turn of any course. */
function always(check: (turn: Turn) => void): void {
  fc.assert(
    fc.property(course, (one) => {
      for (const turn of turnsOf(one)) check(turn);
    }),
    { numRuns: 100 },
  );
}

const isUp = ({ from, to }: { readonly from: number; readonly to: number }): boolean => to > from;

/** The rules of the direction of a verdict that changes something. */
function courseOf({ question: { current, rules: all }, verdict }: Turn) {
  const goesUp = verdict.replicas > current;
  return { goesUp, ofDirection: goesUp ? all.scaleUp : all.scaleDown };
}

/**
 * The widest count that a policy lets through: from the replicas that there are without what the
 * autoscaler has really changed in its period, and from none but those of its start and those that
 * people have set in it. Fewer than none there cannot have been.
 */
function limitOf(
  { question: { current, nowMs }, made, there }: Turn,
  { kind, value, periodSeconds }: RatePolicy,
  goesUp: boolean,
) {
  const sinceMs = nowMs - toMs(periodSeconds);
  const recent = made.filter(({ atMs }) => atMs > sinceMs);
  const unchanged = recent.reduce((sum, { from, to }) => sum + from - to, current);
  const first = there.findLastIndex(({ atMs }) => atMs <= sinceMs);
  const since = there.slice(Math.max(0, first));
  const given = since.filter(({ isByHand }, at) => at === 0 || isByHand);
  const seen = given.map(({ replicas }) => replicas);
  const start = goesUp
    ? Math.max(0, Math.min(unchanged, Math.max(...seen)))
    : Math.max(unchanged, Math.min(...seen));
  const part = kind === "replicas" ? value : (start * value) / 100;
  if (!goesUp) return Math.floor(start - part + 1e-9);
  return kind === "percent" && start === 0 ? 1 : Math.ceil(start + part - 1e-9);
}

describe("for any series of wishes, times and rules, a guard", () => {
  it("keeps replicas within bounds, and never takes them further out", () => {
    always(({ question, verdict: { replicas } }) => {
      const out = (count: number) => Math.abs(count - clamped(count, question.bounds));
      expect(out(replicas)).toBeLessThanOrEqual(out(question.current));
    });
  });

  it("changes no more within a period than the rate policies allow", () => {
    always((turn) => {
      const { replicas } = turn.verdict;
      if (replicas === turn.question.current) return;
      const { goesUp, ofDirection } = courseOf(turn);
      const { ratePolicies, select } = ofDirection;
      expect(select).not.toBe("disabled");
      if (ratePolicies.length === 0) return;
      const within = ratePolicies.map((one) => {
        const limit = limitOf(turn, one, goesUp);
        return goesUp ? replicas <= limit : replicas >= limit;
      });
      expect(within).toContain(true);
      if (select === "min") expect(within).not.toContain(false);
    });
  });

  it("changes direction no more often within the window than the flap budget allows", () => {
    always(
      ({
        question: {
          rules: { flapBudget },
          nowMs,
        },
        made,
      }) => {
        const recent = made.filter(({ atMs }) => atMs > nowMs - toMs(flapBudget.windowSeconds));
        const reversals = recent.filter((change, index) => {
          const before = recent[index - 1];
          return before !== undefined && isUp(before) !== isUp(change);
        });
        expect(reversals.length).toBeLessThanOrEqual(flapBudget.maxReversals);
      },
    );
  });

  it("changes nothing while it is paused or a request is under way", () => {
    always(
      ({
        question: {
          rules: { isPaused },
          isBusy,
          current,
        },
        verdict,
      }) => {
        if (isPaused || isBusy) expect(verdict).toMatchObject({ kind: "keep", replicas: current });
      },
    );
  });

  it("changes nothing, or takes nothing away, with stale input", () => {
    always(({ question, verdict }) => {
      if (!isStale(question)) return;
      if (question.rules.onStale === "hold") expect(verdict.kind).toBe("keep");
      expect(verdict.replicas).toBeGreaterThanOrEqual(question.current);
    });
  });

  it("asks for nothing in shadow mode, and for nothing large without approval", () => {
    always(
      ({
        question: {
          rules: { isShadow, approval },
          current,
        },
        verdict,
      }) => {
        if (isShadow) expect(["keep", "shadow"]).toContain(verdict.kind);
        else expect(verdict.kind).not.toBe("shadow");
        if (verdict.kind !== "change") return;
        const { replicasAbove = MOST, changeAbove = MOST } = approval;
        expect(Math.abs(verdict.replicas - current)).toBeLessThanOrEqual(changeAbove);
        if (verdict.replicas > current) expect(verdict.replicas).toBeLessThanOrEqual(replicasAbove);
      },
    );
  });

  it("goes no further than the most careful wish of the stabilization window", () => {
    always((turn) => {
      const { question, verdict, told } = turn;
      const { current, nowMs, bounds: now } = question;
      if (verdict.replicas === current) return;
      const { goesUp, ofDirection } = courseOf(turn);
      const sinceMs = nowMs - toMs(ofDirection.stabilizationSeconds);
      const wishes = told.filter(({ atMs }) => atMs > sinceMs).map(({ replicas }) => replicas);
      const [base, wish] = [clamped(current, now), clamped(question.wanted, now)];
      const careful = goesUp ? Math.min(wish, ...wishes) : Math.max(wish, ...wishes);
      const limit = clamped(careful, now);
      if (goesUp) expect(verdict.replicas).toBeLessThanOrEqual(Math.max(base, limit));
      else expect(verdict.replicas).toBeGreaterThanOrEqual(Math.min(base, limit));
    });
  });

  it("waits for the cooldown, and looks past small differences", () => {
    always((turn) => {
      const { question, verdict, made } = turn;
      const { current, nowMs, bounds: now, rules: all } = question;
      if (verdict.replicas === current || clamped(current, now) !== current) return;
      const { goesUp, ofDirection } = courseOf(turn);
      const last = made.findLast((change) => isUp(change) === goesUp);
      const sinceMs = last === undefined ? Number.POSITIVE_INFINITY : nowMs - last.atMs;
      expect(sinceMs).toBeGreaterThanOrEqual(toMs(ofDirection.cooldownSeconds));
      const off = Math.abs(clamped(question.wanted, now) - current) / current;
      expect(off).toBeGreaterThanOrEqual(all.tolerance);
    });
  });

  it("says what each rule did, step by step from the wish to the verdict", () => {
    always(({ question: { wanted, current }, verdict: { kind, replicas, steps, why } }) => {
      let target = wanted;
      for (const { from, to } of steps) {
        expect(from).toBe(target);
        target = to;
      }
      expect(target).toBe(replicas);
      expect(kind === "keep").toBe(replicas === current);
      expect(why).toMatch(/^(no change: |wanted \d|shadow: )/);
      expect(why).not.toMatch(/NaN|undefined|Infinity|\n/);
    });
  });

  it("gives the same verdict to the same question, and leaves the question as it is", () => {
    always(({ question, verdict }) => {
      const before = JSON.stringify(question);
      expect(JSON.stringify(guard(question))).toBe(JSON.stringify(verdict));
      expect(JSON.stringify(question)).toBe(before);
    });
  });

  it("remembers a bounded history", () => {
    always(({ verdict: { history } }) => {
      expect(history.recommendations.length).toBeLessThanOrEqual(MAX_RECOMMENDATIONS);
      expect(history.changes.length).toBeLessThanOrEqual(MAX_CHANGE_SPANS);
    });
  });
});
