import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { holds, isTruthy, readConditions } from "./condition.ts";

const outputs = new Map([
  ["check", parseLossless('{"a":{"b":3.0,"t":"x","l":[10,20]},"no":null,"zero":0,"e":{}}')],
]);
const held = (when: object): boolean =>
  readConditions({ output: "check", ...when }, "when").every((one) => holds(one, outputs));

describe("a condition", () => {
  it.each([
    [{ path: "a.b", op: "eq", value: 3 }, true],
    [{ path: "a.b", value: 4 }, false],
    [{ path: "a.b", op: "ne", value: 3 }, false],
    [{ path: "a.b", op: "ne", value: "3" }, true],
    [{ path: "a.b", op: "gt", value: 3 }, false],
    [{ path: "a.b", op: "gte", value: 3 }, true],
    [{ path: "a.b", op: "lt", value: 3 }, false],
    [{ path: "a.b", op: "lte", value: 3 }, true],
    [{ path: "a.t", op: "gt", value: 3 }, false],
    [{ path: "a.l.1", value: 20 }, true],
    [{ path: "a.l", value: [10, 20] }, true],
    [{ path: "a.l", value: [20, 10] }, false],
    [{ path: "e", value: {} }, true],
    [{ path: "no", op: "exists" }, true],
    [{ path: "no" }, false],
    [{ path: "zero" }, false],
    [{ path: "e" }, false],
    [{ path: "a" }, true],
    [{}, true],
    [{ path: "gone", op: "exists" }, false],
    [{ path: "gone", op: "ne", value: 1 }, false],
    [{ path: "a.l.length", op: "exists" }, false],
    [{ path: "constructor", op: "exists" }, false],
    [{ output: "skipped", op: "ne", value: 1 }, false],
  ])("%j holds: %s", (when, expected) => {
    expect(held(when)).toBe(expected);
  });

  it.each([
    [{ op: "like", value: 1 }, /^when\.op: expected one of eq, .*got "like"$/],
    [{ op: "gt", value: "1" }, /^when\.value: gt expects a number, got "1"$/],
    [{ op: "eq" }, /^when\.value: eq expects a value$/],
    [{ op: "exists", value: 1 }, /^when\.value: exists compares with no value$/],
    [{ path: "a..b" }, /^when\.path: expected a key between points/],
    [{ output: 3 }, /^when\.output: expected the name of a module, got 3$/],
    [{ vlaue: 1 }, /^when\.vlaue: expected one of output, path, op, value$/],
  ])("%j is refused", (when, message) => {
    expect(() => readConditions({ output: "check", ...when }, "when")).toThrow(message);
  });

  it("of a list is named by its place", () => {
    const list = [{ output: "check" }, { output: "check", op: "?" }];
    expect(() => readConditions(list, "when")).toThrow(/^when\[1\]\.op: /);
    expect(readConditions(null, "when")).toEqual([]);
  });

  it("is truthy as in Python", () => {
    const falsy = [null, false, 0, "", [], {}, parseLossless("0.0")];
    expect(falsy.map(isTruthy)).toEqual(falsy.map(() => false));
    const truthy = [true, 1, -1, "0", [0], { a: 0 }, parseLossless("0.10")];
    expect(truthy.map(isTruthy)).toEqual(truthy.map(() => true));
  });
});
