import { Context, Query } from "mingo";
import * as arrayOperators from "mingo/operators/query/array";
import * as comparisonOperators from "mingo/operators/query/comparison";
import { describe, expect, it } from "vitest";
import { compileFilter } from "./filter.ts";
import { applyUpdate } from "./update.ts";

const context = Context.init({ query: { ...comparisonOperators, ...arrayOperators } });
const mingos = (filter: object) => new Query(filter as never, { context });

/** Values that are alike in one way and not in another. */
const VALUES: readonly unknown[] = [
  ...[null, 0, -0, 1, "1", "", "a", true, false, [], [1], ["1"], [[1]], [1, 2], [2, 1], {}],
  ...[
    { a: 1 },
    { a: "1" },
    { a: 1, b: 2 },
    { b: 2, a: 1 },
    { a: { c: [1] } },
    [{ a: 1 }, { a: 2 }],
  ],
  ...[[null], [0, "a"], ["a", "a", 1], [{ b: [{ a: 1 }] }]],
];
const PATHS = ["a", "a.a", "a.b", "a.0", "a.b.a", "missing"];

describe.each(["$in", "$nin", "$all"])("%s", (operator) => {
  it("means what it means to mingo", () => {
    const differences: string[] = [];
    const lists = [[], ...VALUES.flatMap((one) => VALUES.map((other) => [one, other]))];
    for (const list of lists) {
      for (const path of PATHS) {
        const filter = { [path]: { [operator]: list } };
        const [ours, theirs] = [compileFilter(filter), mingos(filter)];
        for (const value of VALUES) {
          if (ours({ a: value }) === theirs.test({ a: value } as never)) continue;
          differences.push(`${JSON.stringify(filter)} on ${JSON.stringify({ a: value })}`);
        }
      }
    }
    expect(differences).toEqual([]);
  });

  it.each([
    ["texts", 10_000, (index: number) => `value ${index}`],
    ["objects", 5_000, (index: number) => ({ n: index })],
  ])("goes once, not for each document, through a long list of %s", (_what, count, item) => {
    const matches = compileFilter({
      a: { [operator]: Array.from({ length: count }, (_, index) => item(index)) },
    });
    const started = performance.now();
    let found = 0;
    for (let index = 0; index < 2 * count; index += 1) {
      if (matches({ a: [item(index)] })) found += 1;
    }
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(found).toBe(operator === "$all" ? 0 : count);
  });
});

it("conditions in $all stay conditions, beside values", () => {
  const matches = compileFilter({ a: { $all: [{ $elemMatch: { b: { $in: [1, 2] } } }, 7] } });
  expect(matches({ a: [{ b: 2 }, 7] })).toBe(true);
  expect(matches({ a: [{ b: 3 }, 7] })).toBe(false);
  expect(matches({ a: [{ b: 2 }] })).toBe(false);
});

it("lists work in $elemMatch, in $not and in $pull", () => {
  expect(compileFilter({ a: { $elemMatch: { $in: [1], $nin: [2] } } })({ a: [2, 1] })).toBe(true);
  expect(compileFilter({ a: { $not: { $in: [1], $nin: [3] } } })({ a: 1 })).toBe(false);
  const document = { tags: ["a", "b", "c"], nodes: [{ id: 1 }, { id: 2 }] };
  const update = { $pull: { tags: { $in: ["a", "c"] }, nodes: { id: { $nin: [2] } } } };
  expect(applyUpdate(document, update, [])).toEqual({ tags: ["b"], nodes: [{ id: 2 }] });
});
