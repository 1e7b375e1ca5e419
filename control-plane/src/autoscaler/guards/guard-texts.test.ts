import { describe, expect, it } from "vitest";
import { type GuardQuestion, guard } from "./guard.ts";
import { DEFAULT_GUARD_RULES, type DirectionRules, type GuardRules } from "./guard-rules.ts";
import { countText, durationText, percentText } from "./reason-texts.ts";
import {
  NO_HISTORY,
  type SubjectHistory,
  withChange,
  withRecommendation,
} from "./subject-history.ts";

const NOW_MS = 10_000_000;
const FREE: DirectionRules = {
  ...{ stabilizationSeconds: 0, cooldownSeconds: 0, ratePolicies: [], select: "max" },
};
const RULES: GuardRules = { ...DEFAULT_GUARD_RULES, scaleUp: FREE, scaleDown: FREE };

interface Asked extends Partial<Omit<GuardQuestion, "rules">> {
  readonly rules?: Partial<GuardRules>;
}

const ask = ({ rules, ...rest }: Asked) =>
  guard({
    ...{ subjectId: "s", wanted: 8, current: 8, bounds: { min: 1, max: 1_000 }, inputAgeMs: 0 },
    ...{ isBusy: false, history: NO_HISTORY, nowMs: NOW_MS, ...rest },
    rules: { ...RULES, ...rules },
  });

/** Changes that were made some seconds ago, `[ago, from, to]`. */
function made(...changes: readonly (readonly [number, number, number])[]): SubjectHistory {
  return changes.reduce(
    (history, [ago, from, to]) =>
      withChange(
        history,
        { atMs: NOW_MS - 1_000 * ago, from, to },
        {
          ...RULES,
          scaleUp: { ...FREE, cooldownSeconds: 86_400 },
        },
      ),
    NO_HISTORY,
  );
}

const stabilized = { ...FREE, stabilizationSeconds: 300 };
const told = (replicas: number): SubjectHistory =>
  withRecommendation(
    NO_HISTORY,
    { atMs: NOW_MS - 120_000, replicas },
    {
      ...{ ...RULES, scaleUp: stabilized, scaleDown: stabilized },
    },
  );
const rates = (more: Partial<DirectionRules>): DirectionRules => ({ ...FREE, ...more });
const four = { kind: "replicas", value: 4, periodSeconds: 15 } as const;
const double = { kind: "percent", value: 100, periodSeconds: 60 } as const;

describe("the sentence of a verdict", () => {
  it.each<[string, Asked, string]>([
    ["nothing to do", {}, "keep 8 – no change: 8 wanted, 8 desired"],
    ["nothing against it", { wanted: 12 }, "change 12 – wanted 12, going from 8 to 12"],
    [
      "large numbers",
      { wanted: 12_000, current: 8_000, bounds: { min: 0, max: 100_000 } },
      "change 12000 – wanted 12,000, going from 8,000 to 12,000",
    ],
    ["pause", { wanted: 12, rules: { isPaused: true } }, "keep 8 – wanted 12, kept at 8: paused"],
    ["pause without a wish", { rules: { isPaused: true } }, "keep 8 – no change: paused"],
    [
      "stale input",
      { wanted: 12, inputAgeMs: 300_001 },
      "keep 8 – wanted 12, kept at 8: the input is 5 min 1 s old, expected up to 5 min",
    ],
    [
      "input of unknown age",
      { wanted: 12, inputAgeMs: undefined },
      "keep 8 – wanted 12, kept at 8: the age of the input is not known, expected up to 5 min",
    ],
    [
      "stale input that forbids scale-downs",
      { wanted: 4, inputAgeMs: 360_000, rules: { onStale: "no_scale_down" } },
      "keep 8 – wanted 4, kept at 8: the input is 6 min old, expected up to 5 min, no scale-down",
    ],
    [
      "stale input that allows scale-ups",
      { wanted: 12, inputAgeMs: 360_000, rules: { onStale: "no_scale_down" } },
      "change 12 – wanted 12, going from 8 to 12",
    ],
    [
      "a request under way",
      { wanted: 12, isBusy: true },
      "keep 8 – wanted 12, kept at 8: a request is under way",
    ],
    [
      "the maximum",
      { wanted: 12, bounds: { min: 1, max: 8 } },
      "keep 8 – wanted 12, kept at 8: max_replicas 8",
    ],
    [
      "the minimum",
      { wanted: 2, bounds: { min: 4, max: 8 } },
      "change 4 – wanted 2, going from 8 to 4: min_replicas 4",
    ],
    [
      "desired above the maximum",
      { wanted: 8, current: 12, bounds: { min: 1, max: 8 } },
      "change 8 – wanted 8, going from 12 to 8",
    ],
    [
      "desired above the maximum and more wanted",
      { wanted: 20, current: 12, bounds: { min: 1, max: 8 } },
      "change 8 – wanted 20, going from 12 to 8: max_replicas 8, 12 desired until now",
    ],
    ["tolerance", { wanted: 23, current: 21 }, "keep 21 – no change: 9.5 % off 21, tolerance 10 %"],
    [
      "tolerance of very little",
      { wanted: 8_001, current: 8_000, bounds: { min: 0, max: 9_000 } },
      "keep 8000 – no change: less than 0.1 % off 8,000, tolerance 10 %",
    ],
    [
      "tolerance at the maximum that the desired count had passed",
      { wanted: 19, current: 30, bounds: { min: 1, max: 20 } },
      "change 20 – wanted 19, going from 30 to 20: 5 % off 20, tolerance 10 %",
    ],
    [
      "scale-down stabilization",
      { wanted: 4, history: told(7), rules: { scaleDown: stabilized } },
      "change 7 – wanted 4, going from 8 to 7: 7 wanted 2 min ago, scale-down stabilization 5 min",
    ],
    [
      "scale-up stabilization",
      { wanted: 20, history: told(6), rules: { scaleUp: stabilized } },
      "keep 8 – wanted 20, kept at 8: 6 wanted 2 min ago, scale-up stabilization 5 min",
    ],
    [
      "the wider of two rates",
      { wanted: 30, rules: { scaleUp: rates({ ratePolicies: [four, double] }) } },
      "change 16 – wanted 30, going from 8 to 16: at most 100 % more within 1 min, 8 at its start",
    ],
    [
      "the narrower of two rates",
      { wanted: 30, rules: { scaleUp: rates({ ratePolicies: [double, four], select: "min" }) } },
      "change 12 – wanted 30, going from 8 to 12: at most 4 replicas more within 15 s, 8 at its start",
    ],
    [
      "a rate that is used up",
      {
        ...{ wanted: 1, history: made([10, 9, 8]) },
        rules: { scaleDown: rates({ ratePolicies: [{ ...four, value: 1 }] }) },
      },
      "keep 8 – wanted 1, kept at 8: at most 1 replica fewer within 15 s, 9 at its start",
    ],
    [
      "a disabled direction",
      { wanted: 1, rules: { scaleDown: rates({ select: "disabled" }) } },
      "keep 8 – wanted 1, kept at 8: scale-down is disabled",
    ],
    [
      "cooldown",
      {
        ...{ wanted: 12, history: made([40, 4, 8]) },
        rules: { scaleUp: rates({ cooldownSeconds: 180 }) },
      },
      "keep 8 – wanted 12, kept at 8: last scale-up 40 s ago, cooldown 3 min",
    ],
    [
      "the flap budget",
      {
        ...{ wanted: 12, history: made([90, 8, 9], [60, 9, 8]) },
        rules: { flapBudget: { maxReversals: 1, windowSeconds: 5_400 } },
      },
      "keep 8 – wanted 12, kept at 8: 1 change of direction within 1 h 30 min, budget 1",
    ],
    [
      "approval of many replicas",
      { wanted: 120, rules: { approval: { replicasAbove: 100 } } },
      "needs_approval 120 – wanted 120, going from 8 to 120 needs approval: 120 replicas, approval above 100",
    ],
    [
      "approval of a large change, with a rule that bounds it",
      { wanted: 0, bounds: { min: 1, max: 9 }, rules: { approval: { changeAbove: 6 } } },
      "needs_approval 1 – wanted 0, going from 8 to 1 needs approval: a change by 7 replicas, approval above 6; min_replicas 1",
    ],
    [
      "shadow",
      { wanted: 12, rules: { isShadow: true } },
      "shadow 12 – shadow: wanted 12, would go from 8 to 12",
    ],
    [
      "shadow, with a rule that bounds it",
      { wanted: 12, bounds: { min: 1, max: 10 }, rules: { isShadow: true } },
      "shadow 10 – shadow: wanted 12, would go from 8 to 10: max_replicas 10",
    ],
  ])("names %s", (_, asked, sentence) => {
    const { kind, replicas, why } = ask(asked);
    expect(`${kind} ${replicas} – ${why}`).toBe(sentence);
  });
});

describe("the steps of a verdict", () => {
  it("are the rules that did something, in their order", () => {
    const verdict = ask({
      ...{ wanted: 200, current: 20, bounds: { min: 1, max: 90 }, history: told(70) },
      rules: {
        scaleUp: { ...stabilized, ratePolicies: [double] },
        ...{ approval: { replicasAbove: 30 }, isShadow: true },
      },
    });
    expect(verdict.steps.map(({ rule, from, to }) => [rule, from, to])).toEqual([
      ["max_replicas", 200, 90],
      ["stabilization", 90, 70],
      ["rate_limit", 70, 40],
      ["approval", 40, 40],
      ["shadow", 40, 40],
    ]);
    expect(verdict).toMatchObject({ kind: "shadow", replicas: 40, wanted: 200 });
    expect(verdict.steps.every(({ why }) => why !== "")).toBe(true);
  });

  it("ask tolerance again about what stabilization leaves", () => {
    const { kind, steps } = ask({
      ...{ wanted: 4, current: 20, history: told(19), rules: { scaleDown: stabilized } },
    });
    expect(kind).toBe("keep");
    expect(steps.map(({ rule }) => rule)).toEqual(["stabilization", "tolerance"]);
  });
});

describe("counts outside of the bounds", () => {
  const outside = { wanted: 3, current: 30, bounds: { min: 1, max: 20 } };

  it("come inside without stabilization and cooldown, and no further", () => {
    const scaleDown = { ...stabilized, cooldownSeconds: 600 };
    expect(ask({ ...outside, history: told(25), rules: { scaleDown } }).replicas).toBe(20);
    const history = made([10, 31, 30]);
    expect(ask({ ...outside, history, rules: { scaleDown } }).replicas).toBe(20);
  });

  it("come inside as fast as the rates let them", () => {
    const scaleDown = rates({ ratePolicies: [four], cooldownSeconds: 600 });
    const history = made([60, 31, 30]);
    expect(ask({ ...outside, history, rules: { scaleDown } })).toMatchObject({
      ...{ kind: "change", replicas: 26 },
    });
    const under = { wanted: 9, current: 0, bounds: { min: 5, max: 9 } };
    expect(ask({ ...under, rules: { scaleUp: rates({ ratePolicies: [double] }) } }).replicas).toBe(
      1,
    );
  });

  it.each<Partial<GuardRules>>([
    { isPaused: true },
    { scaleDown: rates({ select: "disabled" }) },
    { onStale: "no_scale_down", staleAfterSeconds: 1 },
  ])("stay there with %j", (rules) => {
    expect(
      ask({ ...outside, wanted: 30, inputAgeMs: 1_001, rules: { staleAfterSeconds: 9, ...rules } }),
    ).toMatchObject({
      ...{ kind: "keep", replicas: 30 },
    });
  });
});

describe("guard", () => {
  it("remembers what was wanted within the bounds, and nothing of stale input that holds", () => {
    const asked = { wanted: 50, bounds: { min: 1, max: 20 }, rules: { scaleDown: stabilized } };
    const wanted = [{ atMs: NOW_MS, lowest: 20, highest: 20 }];
    expect(ask(asked).history.recommendations).toEqual(wanted);
    expect(ask({ ...asked, isBusy: true }).history.recommendations).toEqual(wanted);
    expect(ask({ ...asked, inputAgeMs: undefined }).history.recommendations).toEqual([]);
    const rules = { scaleDown: stabilized, onStale: "no_scale_down" } as const;
    expect(ask({ ...asked, inputAgeMs: undefined, rules }).history.recommendations).toEqual(wanted);
  });

  it("needs no approval for fewer replicas than there are, unless the change is large", () => {
    const asked = { wanted: 50, current: 90 };
    expect(ask({ ...asked, rules: { approval: { replicasAbove: 10 } } }).kind).toBe("change");
    expect(ask({ ...asked, rules: { approval: { changeAbove: 39 } } }).kind).toBe("needs_approval");
    expect(ask({ ...asked, rules: { approval: { changeAbove: 40 } } }).kind).toBe("change");
  });

  it("lets a cooldown, and a tolerance, end exactly where they say", () => {
    const cooling = { wanted: 12, rules: { scaleUp: rates({ cooldownSeconds: 40 }) } };
    expect(ask({ ...cooling, history: made([40, 4, 8]) }).kind).toBe("change");
    expect(ask({ ...cooling, history: made([39, 4, 8]) }).kind).toBe("keep");
    expect(ask({ ...cooling, history: made([1, 9, 8]) }).kind).toBe("change");
    expect(ask({ wanted: 33, current: 30 }).kind).toBe("change");
    expect(ask({ wanted: 32, current: 30 }).kind).toBe("keep");
    expect(ask({ wanted: 1, current: 0 }).kind).toBe("change");
  });

  it.each<[Asked, string]>([
    [{ wanted: 1.5 }, 'subject "s": wanted: expected a whole number from 0, got 1.5'],
    [{ wanted: Number.NaN }, 'subject "s": wanted: expected a whole number from 0, got NaN'],
    [{ current: -1 }, 'subject "s": current: expected a whole number from 0, got -1'],
    [
      { bounds: { min: 5, max: 4 } },
      'subject "s": min_replicas: expected at most max_replicas, 4, got 5',
    ],
    [{ nowMs: Number.NaN }, 'subject "s": the time: expected a number, got NaN'],
  ])("refuses %j", (asked, message) => {
    expect(() => ask(asked)).toThrow(
      expect.objectContaining({ reason: "INVALID_ARGUMENT", message }),
    );
  });
});

describe("numbers for people", () => {
  it("have units, and no more digits than say something", () => {
    const ms = [0, 999, 40_000, 60_000, 90_999, 3_600_000, 3_661_000, 86_400_000, -5];
    expect(ms.map(durationText)).toEqual([
      ...["0 s", "0 s", "40 s", "1 min", "1 min 30 s", "1 h", "1 h 1 min 1 s", "24 h", "0 s"],
    ]);
    expect([0, 0.1, 0.0005, 1].map(percentText)).toEqual(["0 %", "10 %", "0.05 %", "100 %"]);
    expect([0, 999, 12_000].map(countText)).toEqual(["0", "999", "12,000"]);
  });
});
