import { describe, expect, it } from "vitest";
import {
  cloneJson,
  isJsonObject,
  isRawNumber,
  jsonDepth,
  MAX_JSON_DEPTH,
  parseClientJson,
  parseLossless,
  toNumber,
} from "./json.ts";

const deep = (levels: number) => "[".repeat(levels) + "]".repeat(levels);

describe("parseLossless", () => {
  it.each([
    "10.0",
    "-0",
    "-0.0",
    "0",
    "1e400",
    "-1e400",
    "1E5",
    "1e-400",
    "9223372036854775808",
    "18446744073709551616",
    "0.1",
    "0.10000000000000000555",
    "123456789012345678901234567890",
    '{"a":[10.0,{"b":1e2}],"c":"10.0","d":null,"e":true}',
    '{"__proto__":1.0,"rawJSON":"10.0"}',
    '"text"',
    "[]",
  ])("gives %s back as it was written", (text) => {
    expect(JSON.stringify(parseLossless(text))).toBe(text);
  });

  it("keeps numbers that JavaScript writes the same way plain", () => {
    expect(parseLossless("[1,1.5,-2,1e+21,9007199254740991]")).toEqual([
      1, 1.5, -2, 1e21, 9007199254740991,
    ]);
  });

  it("throws SyntaxError as JSON.parse does", () => {
    expect(() => parseLossless("{")).toThrow(SyntaxError);
  });
});

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

  it.each([MAX_JSON_DEPTH + 1, 10_000, 1_000_000])("refuses %d levels", (levels) => {
    expect(() => parseClientJson(deep(levels))).toThrow(
      expect.objectContaining({
        reason: "INVALID_ARGUMENT",
        message: `the request is nested too deep: expected at most ${MAX_JSON_DEPTH} levels of arrays and objects`,
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
    expect(isRawNumber(parseLossless("1.0"))).toBe(true);
  });
});
