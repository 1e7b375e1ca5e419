import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type AcceptedChange,
  type ChangeSpan,
  lastChangeMs,
  MAX_CHANGE_SPANS,
  mergedSpans,
  netTowards,
  reversalsSince,
  spanOf,
  withoutOldRepeats,
} from "./change-spans.ts";
import { DEFAULT_GUARD_RULES, type GuardRules } from "./guard-rules.ts";
import { readHistory, showHistory } from "./history-json.ts";
import {
  MAX_RECOMMENDATIONS,
  mergedRecommendations,
  mostCareful,
  neededRecommendations,
  type Recommendation,
} from "./recommendations.ts";
import {
  freshHistory,
  NO_HISTORY,
  type SubjectHistory,
  withChange,
  withRecommendation,
} from "./subject-history.ts";

const DIRECTIONS = ["up", "down"] as const;

/** Changes that follow each other, each some seconds after the last. */
const changes: fc.Arbitrary<readonly AcceptedChange[]> = fc
  .array(fc.record({ gapMs: fc.nat(5_000), to: fc.nat(9) }), { maxLength: 40 })
  .map((moves) => {
    let [atMs, from] = [0, 5];
    return moves.map(({ gapMs, to }) => {
      atMs += gapMs;
      const change = { atMs, from, to };
      from = to;
      return change;
    });
  });

const spans = changes.map((all) => all.flatMap((change) => spanOf(change) ?? []));

const recommendations: fc.Arbitrary<readonly Recommendation[]> = fc
  .array(fc.record({ gapMs: fc.nat(5_000), replicas: fc.nat(9) }), { maxLength: 40 })
  .map((all) => {
    let atMs = 0;
    return all.map(({ gapMs, replicas }) => {
      atMs += gapMs;
      return { atMs, lowest: replicas, highest: replicas };
    });
  });

const sinceMs = fc.integer({ min: -1, max: 100_000 });

function rulesWith(upSeconds: number, downSeconds: number): GuardRules {
  const { scaleUp, scaleDown } = DEFAULT_GUARD_RULES;
  return {
    ...DEFAULT_GUARD_RULES,
    scaleUp: { ...scaleUp, stabilizationSeconds: upSeconds },
    scaleDown: { ...scaleDown, stabilizationSeconds: downSeconds },
  };
}

function stricter(merged: readonly ChangeSpan[], exact: readonly ChangeSpan[], since: number) {
  expect(reversalsSince(merged, since)).toBeGreaterThanOrEqual(reversalsSince(exact, since));
  for (const direction of DIRECTIONS) {
    const [net, exactNet] = [merged, exact].map((one) => netTowards(one, direction, since));
    expect(net).toBeGreaterThanOrEqual(exactNet ?? Number.NaN);
    const [last, exactLast] = [merged, exact].map((one) => lastChangeMs(one, direction));
    expect(last ?? -1).toBeGreaterThanOrEqual(exactLast ?? -1);
  }
}

describe("changes", () => {
  it("counts what went towards a direction, less what went against it", () => {
    const all = [
      { atMs: 1, from: 5, to: 9 },
      { atMs: 2, from: 9, to: 7 },
      { atMs: 3, from: 7, to: 8 },
    ].flatMap((change) => spanOf(change) ?? []);
    expect(netTowards(all, "up", 0)).toBe(3);
    expect(netTowards(all, "up", 1)).toBe(-1);
    expect(netTowards(all, "down", 1)).toBe(1);
    expect([0, 1, 2].map((since) => reversalsSince(all, since))).toEqual([2, 1, 0]);
    expect(DIRECTIONS.map((direction) => lastChangeMs(all, direction))).toEqual([3, 2]);
    expect(spanOf({ atMs: 1, from: 5, to: 5 })).toBeUndefined();
  });

  it("answers no question less strictly for having been merged", () => {
    fc.assert(
      fc.property(spans, fc.integer({ min: 1, max: 40 }), sinceMs, (all, most, since) => {
        const merged = mergedSpans(all, most);
        expect(merged.length).toBe(Math.min(most, all.length));
        stricter(merged, all, since);
      }),
      { numRuns: 500 },
    );
  });

  it("loses nothing by merging repeats that no rate policy looks at", () => {
    fc.assert(
      fc.property(spans, sinceMs, sinceMs, (all, untilMs, since) => {
        const fewer = withoutOldRepeats(all, untilMs);
        expect(reversalsSince(fewer, since)).toBe(reversalsSince(all, since));
        for (const direction of DIRECTIONS) {
          expect(lastChangeMs(fewer, direction)).toBe(lastChangeMs(all, direction));
          const late = Math.max(since, untilMs);
          expect(netTowards(fewer, direction, late)).toBe(netTowards(all, direction, late));
        }
      }),
      { numRuns: 500 },
    );
    const ups = [1, 2, 3].map((atMs) => ({ atMs, from: atMs, to: atMs + 1 }));
    const all = ups.flatMap((change) => spanOf(change) ?? []);
    expect(withoutOldRepeats(all, 2)).toHaveLength(2);
  });
});

describe("recommendations", () => {
  const window = fc.integer({ min: 0, max: 60 });

  it("keeps what any later window can ask for, and nothing that is superfluous", () => {
    fc.assert(
      fc.property(recommendations, window, window, fc.nat(60_000), (all, up, down, laterMs) => {
        const nowMs = all.at(-1)?.atMs ?? 0;
        const needed = neededRecommendations(all, rulesWith(up, down), nowMs);
        const upSince = nowMs + laterMs - 1_000 * up;
        const downSince = nowMs + laterMs - 1_000 * down;
        expect(mostCareful(needed, "up", upSince)).toEqual(mostCareful(all, "up", upSince));
        expect(mostCareful(needed, "down", downSince)).toEqual(mostCareful(all, "down", downSince));
        expect(needed.length).toBeLessThanOrEqual(20);
      }),
      { numRuns: 500 },
    );
    const same = [1, 2, 3].map((atMs) => ({ atMs, lowest: 4, highest: 4 }));
    expect(neededRecommendations(same, rulesWith(60, 60), 3)).toEqual(same.slice(2));
  });

  it("is no less careful for having been merged", () => {
    fc.assert(
      fc.property(recommendations, fc.integer({ min: 1, max: 40 }), sinceMs, (all, most, since) => {
        const merged = mergedRecommendations(all, most);
        expect(merged.length).toBe(Math.min(most, all.length));
        const [up, exactUp] = [merged, all].map((one) => mostCareful(one, "up", since));
        const [down, exactDown] = [merged, all].map((one) => mostCareful(one, "down", since));
        expect(up?.replicas ?? 10).toBeLessThanOrEqual(exactUp?.replicas ?? 10);
        expect(down?.replicas ?? -1).toBeGreaterThanOrEqual(exactDown?.replicas ?? -1);
      }),
      { numRuns: 500 },
    );
  });
});

describe("a history", () => {
  it("stays bounded in the worst series, and keeps holding", () => {
    let history: SubjectHistory = NO_HISTORY;
    const rules = rulesWith(3_600, 3_600);
    for (let tick = 0; tick < 400; tick += 1) {
      // Ever narrower swings: each value is a lowest or highest one of the rest, and each change a reversal.
      const [low, high] = [tick, 1_000 - tick];
      const [from, to] = tick % 2 === 0 ? [low, high] : [high, low];
      history = withRecommendation(history, { atMs: tick, replicas: to }, rules);
      history = withChange(history, { atMs: tick, from, to }, rules);
    }
    expect(history.recommendations).toHaveLength(MAX_RECOMMENDATIONS);
    expect(history.changes).toHaveLength(MAX_CHANGE_SPANS);
    expect(reversalsSince(history.changes, -1)).toBe(399);
    expect(mostCareful(history.recommendations, "down", -1)?.replicas).toBe(1_000);
  });

  it("forgets what no rule can look at any more", () => {
    const rules = rulesWith(0, 60);
    const told = withRecommendation(NO_HISTORY, { atMs: 0, replicas: 4 }, rules);
    const made = withChange(told, { atMs: 0, from: 4, to: 8 }, rules);
    expect(freshHistory(made, rules, 59_999)).toEqual(made);
    expect(freshHistory(made, rules, 60_000)).toEqual({ ...made, recommendations: [] });
    expect(freshHistory(made, rules, 3_600_000)).toEqual(NO_HISTORY);
    expect(withRecommendation(NO_HISTORY, { atMs: 0, replicas: 4 }, rulesWith(0, 0))).toEqual(
      NO_HISTORY,
    );
  });

  it("keeps changes apart while a rate policy looks at them", () => {
    const first = withChange(NO_HISTORY, { atMs: 0, from: 1, to: 2 }, DEFAULT_GUARD_RULES);
    const { changes } = withChange(first, { atMs: 9_000, from: 2, to: 5 }, DEFAULT_GUARD_RULES);
    expect([-1, 0].map((since) => netTowards(changes, "up", since))).toEqual([4, 3]);
    expect(freshHistory({ ...first, changes }, DEFAULT_GUARD_RULES, 24_000).changes).toHaveLength(
      1,
    );
  });

  it("counts what a clock that was ahead has written as of now, and no longer", () => {
    const rules = rulesWith(60, 60);
    const aheadMs = 10 ** 12;
    const told = withRecommendation(NO_HISTORY, { atMs: aheadMs, replicas: 4 }, rules);
    const ahead = withChange(told, { atMs: aheadMs, from: 4, to: 8 }, rules);
    const healed = freshHistory(ahead, rules, 1_000);
    expect(mostCareful(healed.recommendations, "up", 999)).toEqual({ atMs: 1_000, replicas: 4 });
    expect(lastChangeMs(healed.changes, "up")).toBe(1_000);
    expect(freshHistory(healed, rules, 3_601_000)).toEqual(NO_HISTORY);
  });

  it("keeps a change that is told late for as long as the one before it", () => {
    const first = withChange(NO_HISTORY, { atMs: 9_000, from: 1, to: 2 }, DEFAULT_GUARD_RULES);
    const both = withChange(first, { atMs: 4_000, from: 2, to: 3 }, DEFAULT_GUARD_RULES);
    expect(netTowards(both.changes, "up", 8_999)).toBe(2);
    expect(withChange(both, { atMs: 9_000, from: 3, to: 3 }, DEFAULT_GUARD_RULES)).toEqual(both);
  });

  it("is read as it was shown", () => {
    fc.assert(
      fc.property(spans, recommendations, fc.integer({ min: 1, max: 9 }), (all, told, most) => {
        const history = { recommendations: told, changes: mergedSpans(all, most) };
        expect(readHistory(JSON.parse(JSON.stringify(showHistory(history))))).toEqual(history);
      }),
    );
    expect(() => readHistory({ recommendations: [], changes: [{ from: "4" }] })).toThrow(
      expect.objectContaining({
        reason: "INVALID_ARGUMENT",
        message: expect.stringMatching(/^changes\.0\./),
      }),
    );
    expect(() => readHistory({ changes: [] })).toThrow("recommendations: required field");
  });
});
