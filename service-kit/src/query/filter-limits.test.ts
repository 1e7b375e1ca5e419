import { describe, expect, it } from "vitest";
import { compileFilter } from "./filter.ts";
import {
  MAX_FILTER_DEPTH,
  MAX_FILTER_NODES,
  MAX_FILTER_PATTERN_CHARACTERS,
  MAX_FILTER_PATTERNS,
  MAX_FILTER_VALUES,
} from "./prepare-filter.ts";

const items = (length: number) => Array.from({ length }, (_, index) => index);
const refused = (filter: unknown, message: string) =>
  expect(() => compileFilter(filter)).toThrow(
    expect.objectContaining({ reason: "INVALID_ARGUMENT", message }),
  );

function nested(levels: number): object {
  let filter: object = { a: 1 };
  for (let level = 0; level < levels; level += 1) filter = { $and: [filter] };
  return filter;
}

describe("a filter is refused beyond and taken at its limit of", () => {
  it("nodes", () => {
    const wide = (length: number) => ({ a: { $eq: items(length) } });
    refused(wide(MAX_FILTER_NODES), "query.a.$eq[997]: the query has more than 1000 nodes");
    expect(compileFilter(wide(MAX_FILTER_NODES - 3))({ a: [1] })).toBe(false);
  });

  it("levels, also in a list of values", () => {
    const place = `query${".$and[0]".repeat(16)}`;
    refused(nested(100_000), `${place}: the query is nested deeper than 32 levels`);
    refused(nested(MAX_FILTER_DEPTH / 2), `${place}: the query is nested deeper than 32 levels`);
    expect(compileFilter(nested(MAX_FILTER_DEPTH / 2 - 1))({ a: 1 })).toBe(true);
    let value: unknown = 1;
    for (let level = 0; level < 10_000; level += 1) value = [value];
    refused({ a: { $in: [value] } }, "query.a.$in: the query is nested deeper than 32 levels");
  });

  it("values in all its lists together", () => {
    const lists = (last: number) => ({
      $or: [
        { a: { $in: items(4_000) } },
        { b: { $nin: items(2_000) } },
        { c: { $all: items(2_000) } },
        { d: { $not: { $in: items(last) } } },
      ],
    });
    const problem = `the query's values hold more than ${MAX_FILTER_VALUES} items`;
    refused(lists(2_001), `query.$or[3].d.$not.$in: ${problem}`);
    expect(compileFilter(lists(2_000))({ a: 3_999 })).toBe(true);
    const members = Object.fromEntries(items(5_000).map((index) => [`k${index}`, [index]]));
    refused({ a: { $in: [members] } }, `query.a.$in: ${problem}`);
  });

  it("patterns", () => {
    const patterns = (count: number) => ({ $or: items(count).map(() => ({ a: { $regex: "b" } })) });
    refused(
      patterns(MAX_FILTER_PATTERNS + 1),
      "query.$or[100].a.$regex: the query has more than 100 patterns",
    );
    expect(compileFilter(patterns(MAX_FILTER_PATTERNS))({ a: "abc" })).toBe(true);
  });

  it("characters of all patterns together", () => {
    const long = { a: { $regex: "b".repeat(1_000) } };
    const full = { $or: items(MAX_FILTER_PATTERN_CHARACTERS / 1_000).map(() => long) };
    expect(compileFilter(full)({ a: "b".repeat(1_000) })).toBe(true);
    refused(
      { $or: [...full.$or, { c: { $regex: "d" } }] },
      "query.$or[10].c.$regex: the query's patterns hold more than 10000 characters",
    );
  });

  it("steps of all patterns together", () => {
    const heavy = { a: { $regex: "[a-z]{1000}".repeat(4) } };
    expect(compileFilter({ $or: [heavy, heavy] })({ a: "b" })).toBe(false);
    refused(
      { $or: items(10).map(() => heavy) },
      "query.$or[4].a.$regex: the query's patterns unfold to too many steps",
    );
  });

  it("what a message shows of a place", () => {
    const filter = { ["x".repeat(100_000)]: { $in: items(MAX_FILTER_VALUES + 1) } };
    expect(() => compileFilter(filter)).toThrow(/^query\.x{194}…: the query's values hold more/);
  });
});
