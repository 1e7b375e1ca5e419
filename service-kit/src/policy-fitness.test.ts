import { expect, it } from "vitest";
import { parseLossless } from "./lossless-json.ts";
import { unfitForPolicies } from "./policy-fitness.ts";

const nested = (levels: number) => JSON.parse(`${"[".repeat(levels)}${"]".repeat(levels)}`);
const TOO_LARGE = "a number is too large for a double";

it.each([
  ["null", null],
  ["undefined", undefined],
  ["a text", "1e400"],
  ["48 levels", nested(48)],
  ["the largest double", { a: [{ b: 1.7976931348623157e308 }] }],
  ["an integer beyond 2^53 as it was written", parseLossless('{"a":12345678901234567890}')],
  ["a tiny number as it was written", parseLossless("[1e-400]")],
])("lets policies have %s", (_what, value) => {
  expect(unfitForPolicies(value)).toBeUndefined();
});

it.each([
  ["49 levels", nested(49), "expected at most 48 nested levels"],
  ["a million levels", nested(1_000_000), "expected at most 48 nested levels"],
  ["a number that no double holds", parseLossless('{"a":[null,{"b":1e400}]}'), TOO_LARGE],
  ["a negative one", parseLossless("-1e400"), TOO_LARGE],
  ["infinity", [Number.POSITIVE_INFINITY], TOO_LARGE],
  ["no number", { a: Number.NaN }, TOO_LARGE],
])("does not let policies have %s", (_what, value, why) => {
  expect(unfitForPolicies(value)).toBe(why);
});
