import { describe, expect, it } from "vitest";
import {
  cloneJson,
  isJsonObject,
  jsonDepth,
  MAX_JSON_DEPTH,
  MAX_JSON_VALUES,
  parseClientJson,
  toNumber,
} from "./json.ts";
import { parseLossless } from "./lossless-json.ts";

const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);

describe("toNumber", () => {
  it.each([
    ["10.0", 10],
    ["1e400", Number.POSITIVE_INFINITY],
    ["9223372036854775808", 2 ** 63],
    ["7", 7],
  ])("reads the parsed %s as %d", (text, number) => {
    expect(toNumber(parseLossless(text))).toBe(number);
  });

  it("keeps the sign of minus zero", () => {
    expect(Object.is(toNumber(parseLossless("-0")), -0)).toBe(true);
  });

  it.each(["10", null, undefined, {}, { rawJSON: "10.0" }])("gives undefined for %j", (value) => {
    expect(toNumber(value)).toBeUndefined();
  });
});

describe("parseClientJson", () => {
  it("parses JSON", () => {
    expect(parseClientJson('{"a":[1,2]}')).toEqual({ a: [1, 2] });
  });

  it.each(["", "{", "hello", '{"a":1}}', "undefined", "NaN", "'a'"])(
    "refuses %j with INVALID_ARGUMENT and a reason",
    (text) => {
      expect(() => parseClientJson(text)).toThrow(
        expect.objectContaining({
          reason: "INVALID_ARGUMENT",
          message: expect.stringMatching(/^the request is not JSON: ./),
        }),
      );
    },
  );

  it("accepts the deepest allowed nesting, which everything behind it can walk", () => {
    const value = parseClientJson(deep(MAX_JSON_DEPTH));
    expect(JSON.stringify(cloneJson(value))).toBe(deep(MAX_JSON_DEPTH));
  });

  it.each([MAX_JSON_DEPTH + 1, 10_000, 8_000_000])(
    "refuses %d levels, and says where",
    (levels) => {
      const begunAt = performance.now();
      expect(() => parseClientJson(`{"inputs":{"a":[0,${deep(levels)}]}}`)).toThrow(
        expect.objectContaining({
          reason: "INVALID_ARGUMENT",
          message: expect.stringMatching(
            /^inputs\.a\[1\](\[0\])+.*: nested deeper than 128 levels of arrays and objects$/,
          ),
        }),
      );
      expect(performance.now() - begunAt).toBeLessThan(1_000);
    },
  );

  it("refuses more values than can be parsed in no time, and says where", () => {
    const most = `{"a":[${"0,".repeat(MAX_JSON_VALUES - 5)}0]}`;
    expect(parseClientJson(most)).toHaveProperty("a");
    expect(() => parseClientJson(`{"inputs":[${"0,".repeat(8_000_000)}0]}`)).toThrow(
      expect.objectContaining({
        reason: "INVALID_ARGUMENT",
        message: expect.stringMatching(
          /^inputs\[\d+\]: the request has more than 500000 values and keys$/,
        ),
      }),
    );
  });
});

describe("jsonDepth", () => {
  it.each([
    ["1", 0],
    ["null", 0],
    ['"[["', 0],
    ["10.0", 0],
    ["[]", 1],
    ["{}", 1],
    ["[10.0]", 1],
    ['{"a":[],"b":{"c":[1]}}', 3],
    ["[[1],[[2]],3]", 3],
  ])("of %s is %d", (text, depth) => {
    expect(jsonDepth(parseLossless(text))).toBe(depth);
  });

  it("walks any depth and width", () => {
    expect(jsonDepth(JSON.parse(deep(100_000)))).toBe(100_000);
    expect(jsonDepth(Array.from({ length: 1_000_000 }, () => [1]))).toBe(2);
  });
});

describe("cloneJson", () => {
  it("copies every level and keeps raw numbers", () => {
    const value = parseLossless('{"a":[{"b":10.0}],"__proto__":{"c":1e400},"d":null}');
    const copy = cloneJson(value);
    expect(JSON.stringify(copy)).toBe(JSON.stringify(value));
    expect(copy).not.toBe(value);
    expect((copy as { a: unknown[] }).a[0]).not.toBe((value as { a: unknown[] }).a[0]);
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
  });
});

describe("isJsonObject", () => {
  it("is true for objects only, and not for numbers kept as text", () => {
    expect(isJsonObject({})).toBe(true);
    expect(isJsonObject(JSON.parse('{"__proto__":1}'))).toBe(true);
    for (const value of [null, [], "a", 1, undefined, parseLossless("1.0")]) {
      expect(isJsonObject(value)).toBe(false);
    }
  });
});
