import { describe, expect, it } from "vitest";
import { DEFAULT_GUARD_RULES } from "./guard-rules.ts";
import { readGuardRules, showGuardRules } from "./read-guard-rules.ts";

const read = (body: unknown) => readGuardRules("guards", body);

const FULL = {
  tolerance: 0.25,
  scale_up: {
    ...{ stabilization_seconds: 60, cooldown_seconds: 30, select: "min" },
    rate_policies: [{ type: "percent", value: 900, period_seconds: 60 }],
  },
  scale_down: {
    ...{ stabilization_seconds: 3_600, cooldown_seconds: 86_400, select: "disabled" },
    rate_policies: [],
  },
  flap_budget: { max_reversals: 2, window_seconds: 600 },
  ...{ stale_after_seconds: 90, on_stale: "no_scale_down" },
  approval: { replicas_above: 100, change_above: 0 },
  ...{ paused: true, shadow: true },
};

describe("readGuardRules", () => {
  it.each([undefined, null, {}, { approval: null, scale_up: {}, tolerance: null }])(
    "gives the defaults where nothing is said: %j",
    (body) => expect(read(body)).toEqual(DEFAULT_GUARD_RULES),
  );

  it("reads what showGuardRules shows", () => {
    expect(showGuardRules(read(FULL))).toEqual(FULL);
    expect(read(showGuardRules(DEFAULT_GUARD_RULES))).toEqual(DEFAULT_GUARD_RULES);
  });

  it("changes only what is named", () => {
    expect(
      read({ scale_down: { cooldown_seconds: 7 }, flap_budget: { max_reversals: 1 } }),
    ).toEqual({
      ...DEFAULT_GUARD_RULES,
      scaleDown: { ...DEFAULT_GUARD_RULES.scaleDown, cooldownSeconds: 7 },
      flapBudget: { ...DEFAULT_GUARD_RULES.flapBudget, maxReversals: 1 },
    });
  });

  const policy = { type: "replicas", value: 1, period_seconds: 1 };
  const up = (fields: object) => ({ scale_up: fields });
  const rate = (fields: object) => up({ rate_policies: [policy, { ...policy, ...fields }] });
  it.each([
    [[], "guards: expected an object, got array"],
    [{ tolerance: 1.1 }, "guards.tolerance: expected a number from 0 to 1, got 1.1"],
    [{ tolerance: Number.NaN }, "guards.tolerance: expected a number from 0 to 1, got null"],
    [{ tolerance: "0.1" }, 'guards.tolerance: expected a number from 0 to 1, got "0.1"'],
    [{ toleranse: 0 }, 'guards.toleranse: unknown field; near: "tolerance"'],
    [
      up({ cooldown_second: 1 }),
      'guards.scale_up.cooldown_second: unknown field; near: "cooldown_seconds"',
    ],
    [
      { approval: { colour: 1 } },
      'guards.approval.colour: unknown field; expected one of "replicas_above", "change_above"',
    ],
    [
      up({ stabilization_seconds: 3_601 }),
      "guards.scale_up.stabilization_seconds: expected a whole number from 0 to 3600, got 3601",
    ],
    [
      up({ cooldown_seconds: -1 }),
      "guards.scale_up.cooldown_seconds: expected a whole number from 0 to 86400, got -1",
    ],
    [
      up({ select: "most" }),
      'guards.scale_up.select: expected one of "max", "min", "disabled", got "most"',
    ],
    [
      up({ rate_policies: policy }),
      "guards.scale_up.rate_policies: expected an array of rate policies, got object",
    ],
    [
      up({ rate_policies: Array(9).fill(policy) }),
      "guards.scale_up.rate_policies: expected at most 8 policies, got 9",
    ],
    [
      up({ rate_policies: [null] }),
      "guards.scale_up.rate_policies[0]: expected an object, got null",
    ],
    [
      rate({ value: 0 }),
      "guards.scale_up.rate_policies[1].value: expected a whole number from 1 to 100000, got 0",
    ],
    [
      rate({ type: "percent", value: 1.5 }),
      "guards.scale_up.rate_policies[1].value: expected a whole number from 1 to 10000, got 1.5",
    ],
    [
      rate({ period_seconds: undefined }),
      "guards.scale_up.rate_policies[1].period_seconds: required field is missing",
    ],
    [
      rate({ type: "pods" }),
      'guards.scale_up.rate_policies[1].type: expected one of "replicas", "percent", got "pods"',
    ],
    [
      { flap_budget: { max_reversals: 0 } },
      "guards.flap_budget.max_reversals: expected a whole number from 1 to 100, got 0",
    ],
    [
      { flap_budget: { window_seconds: 86_401 } },
      "guards.flap_budget.window_seconds: expected a whole number from 1 to 86400, got 86401",
    ],
    [
      { stale_after_seconds: 0 },
      "guards.stale_after_seconds: expected a whole number from 1 to 86400, got 0",
    ],
    [{ on_stale: 7 }, 'guards.on_stale: expected one of "hold", "no_scale_down", got 7'],
    [
      { approval: { change_above: "5" } },
      'guards.approval.change_above: expected a whole number from 0 to 100000, got "5"',
    ],
    [{ paused: "yes" }, 'guards.paused: expected true or false, got "yes"'],
    [{ shadow: 1 }, "guards.shadow: expected true or false, got 1"],
  ])("refuses %j", (body, message) => {
    expect(() => read(body)).toThrow(
      expect.objectContaining({ reason: "INVALID_ARGUMENT", message }),
    );
  });
});
