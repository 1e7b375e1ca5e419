import { describe, expect, it } from "vitest";
import { isRawNumber, parseLossless } from "./lossless-json.ts";

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
    "1E+5",
    "9223372036854775808",
    "18446744073709551616",
    "0.1",
    "0.10000000000000000555",
    "123456789012345678901234567890",
    '{"a":[10.0,{"b":1e2}],"c":"10.0","d":null,"e":true,"f":false}',
    '{"__proto__":1.0,"rawJSON":"10.0"}',
    '{"":{},"\\\\":[[],{}],"\\"":"\\\\"}',
    '"text"',
    "[]",
  ])("gives %s back as it was written", (text) => {
    expect(JSON.stringify(parseLossless(text))).toBe(text);
  });

  it.each([
    ' { "a" : [ 1 , -2.5 , true , false , null ] , "b\\u0041\\n" : "\\u00e9\\"\\\\" , "a" : { } } ',
    "[1,1.5,-2,1e+21,9007199254740991]",
    '{"2":1,"1":2,"a":3}',
    '\n[\t"]","}",",",":"\r]',
    '{"__proto__":{"a":1},"constructor":2}',
  ])("reads %s as JSON.parse does", (text) => {
    const value = parseLossless(text);
    expect(value).toEqual(JSON.parse(text));
    expect(JSON.stringify(value)).toBe(JSON.stringify(JSON.parse(text)));
  });

  it.each(["{", "", "[1,]", "01", "[1 2]", '{"a"}', "nul", '"\n"', "+1", "[1}"])(
    "throws SyntaxError for %j as JSON.parse does",
    (text) => {
      expect(() => parseLossless(text)).toThrow(SyntaxError);
    },
  );
});

describe("isRawNumber", () => {
  it("is true for numbers that were kept as text only", () => {
    expect(isRawNumber(parseLossless("1.0"))).toBe(true);
    for (const value of [1, "1.0", null, {}, { rawJSON: "1.0" }]) {
      expect(isRawNumber(value)).toBe(false);
    }
  });
});
