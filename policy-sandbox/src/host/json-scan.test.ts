import { expect, test } from "vitest";
import { hasUnreadableNumber, scanJson } from "./json-scan.ts";

test.each([
  ["1", 0],
  ['"[[[["', 0],
  ["[]", 1],
  ['{"a":[{"b":1}]}', 3],
  ['["\\"[",[]]', 2],
  ['["\\\\",[[]]]', 3],
  ["[[],[],[[]]]", 3],
  ["", 0],
  ['"never closed [[', 0],
  ["[".repeat(200_000), 200_000],
])("the depth of %.20s is measured", (text, depth) => {
  expect(scanJson(text).depth).toBe(depth);
});

test.each([
  ["1e400", true],
  ["[1.5E+999]", true],
  ["1e-400", true],
  ["9".repeat(310), true],
  ["[1e30, 10.0, 9223372036854775809]", false],
  ['["1e400", "5E999"]', false],
  ["[true,false]", false],
])("numbers that may not fit a double are seen in %.30s: %s", (text, wide) => {
  expect(scanJson(text).wideNumbers).toBe(wide);
});

test("containers, separators and strings are counted outside of strings only", () => {
  const text = '{"a":[1,{}],"b, {":"[:\\","}';
  expect(scanJson(text)).toMatchObject({ objects: 2, arrays: 1, separators: 4, strings: 3 });
});

test.each([
  ["[1, -2.5, 1e308, 0.1E-400]", false],
  ['{"1e999": "1e999 \\" 1e999"}', false],
  [`[${"9".repeat(4_300)}]`, false],
  [`[${"9".repeat(4_301)}]`, true],
  [`[-${"9".repeat(4_301)}]`, true],
  [`[${"9".repeat(310)}.0]`, true],
  ['{"a":-1e999,"a":1}', true],
  ['["x", 1.5E+309]', true],
])("whether Python reads every number of %.40s is told", (text, unreadable) => {
  expect(hasUnreadableNumber(text)).toBe(unreadable);
});
