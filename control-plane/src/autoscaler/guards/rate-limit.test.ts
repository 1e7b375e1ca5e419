import { describe, expect, it } from "vitest";
import type { Direction, DirectionRules } from "./guard-rules.ts";
import { DEFAULT_GUARD_RULES } from "./guard-rules.ts";
import { rateLimit } from "./rate-limit.ts";
import { NO_HISTORY, withChange } from "./subject-history.ts";

const NOW_MS = 10_000_000;
const FOUR: DirectionRules = {
  ...{ stabilizationSeconds: 0, cooldownSeconds: 0, select: "max" },
  ratePolicies: [{ kind: "replicas", value: 4, periodSeconds: 1_800 }],
};

/** The limit of four replicas within 30 min after changes of the autoscaler, a minute after each other. */
function limitAfter(
  changes: readonly (readonly [from: number, to: number])[],
  direction: Direction,
  current: number,
): number | undefined {
  const history = changes.reduce((before, [from, to], index) => {
    const atMs = NOW_MS - 60_000 * (changes.length - index);
    return withChange(before, { atMs, from, to }, { ...DEFAULT_GUARD_RULES, scaleUp: FOUR });
  }, NO_HISTORY);
  return rateLimit({
    ...{ rules: FOUR, direction, current, changes: history.changes, nowMs: NOW_MS },
  })?.replicas;
}

describe("the limit of a rate policy", () => {
  it("counts from the replicas at the start of the period", () => {
    expect(limitAfter([], "up", 10)).toBe(14);
    expect(limitAfter([[10, 12]], "up", 12)).toBe(14);
    expect(limitAfter([[10, 2]], "up", 2)).toBe(14);
    expect(limitAfter([[10, 20]], "down", 20)).toBe(6);
    expect(limitAfter([[10, 7]], "down", 7)).toBe(6);
  });

  it("counts from no more replicas than there were, where a scale-down was undone by hand", () => {
    expect(limitAfter([[10, 2]], "up", 10)).toBe(14);
    const again = [
      [10, 2],
      [10, 14],
    ] as const;
    expect(limitAfter(again, "up", 14)).toBe(14);
    expect(
      limitAfter(
        [
          [10, 8],
          [8, 2],
        ],
        "up",
        9,
      ),
    ).toBe(14);
  });

  it("counts from no fewer than there were, where a scale-up was undone by hand", () => {
    expect(limitAfter([[10, 30]], "down", 10)).toBe(6);
  });

  it("counts from what people have set", () => {
    expect(limitAfter([], "up", 30)).toBe(34);
    expect(limitAfter([[10, 12]], "up", 40)).toBe(42);
    expect(limitAfter([[10, 12]], "down", 40)).toBe(34);
  });
});
