import { describe, expect, it } from "vitest";
import { MAX_CLUSTER_STEPS, QuerySteps, TOO_LONG } from "./query-steps.ts";
import { sameAsAny } from "./value-tests.ts";

const items = Array.from({ length: 300_000 }, (_, n) => n);
const wide = Object.fromEntries(items.map((n) => [`k${n}`, n]));

function someSteps(): QuerySteps {
  const steps = new QuerySteps();
  steps.nextCluster();
  return steps;
}

describe("sameAsAny", () => {
  it.each<[unknown, unknown, boolean]>([
    [{ a: 1, b: [2] }, { a: 1, b: [2] }, true],
    [{ a: 1, b: [2] }, { b: [2], a: 1 }, false],
    [{ a: 1 }, { a: 1, b: 2 }, false],
    [{ a: "1" }, { a: 1 }, false],
    [[1, { a: null }], [1, { a: null }], true],
    [[1], { "0": 1 }, false],
    [[], {}, false],
  ])("compares %j with %j", (found, item, same) => {
    expect(sameAsAny(["x", item])(found, someSteps())).toBe(same);
  });

  it("compares large values no further than what is asked for goes", () => {
    for (const found of [items, wide, [items], { a: wide }]) {
      const same = sameAsAny([[1, [2]], { a: 1 }, items.slice(0, 5), [[7]], { a: { b: 1 } }]);
      expect(same(found, someSteps())).toBe(false);
    }
  });

  it("takes a step for each key that it looks at", () => {
    const steps = someSteps();
    steps.take(MAX_CLUSTER_STEPS - 1_000);
    expect(sameAsAny([{ a: 1 }])(wide, steps)).toBe(TOO_LONG);
  });
});
