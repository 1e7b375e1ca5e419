import { describe, expect, it } from "vitest";
import {
  itemsOf,
  memberOf,
  setMember,
  spliced,
  valueAt,
  wholeOf,
  withMember,
} from "./json-spans.ts";

const TEXT = ` { "a" : 10.0 , "b\\"":{"c":[1e3 , "x,]}" , {"d":-0.0}, [], true ,null]} ,"e\\u0066":"\\\\ ], }" }\n`;

const textAt = (...path: string[]) => {
  const span = valueAt(TEXT, path);
  return span && TEXT.slice(span.start, span.end);
};

describe("valueAt", () => {
  it.each([
    [["a"], "10.0"],
    [['b"'], '{"c":[1e3 , "x,]}" , {"d":-0.0}, [], true ,null]}'],
    [["ef"], '"\\\\ ], }"'],
    [[], TEXT.trim()],
    [["b"], undefined],
    [['b"', "d"], undefined],
    [["a", "a"], undefined],
    [["ef", "a"], undefined],
  ])("finds at %j %j", (path, text) => {
    expect(textAt(...path)).toBe(text);
  });

  it("takes the last of members that have one key", () => {
    const text = '{"a":1,"b":2,"a":3}';
    expect(memberOf(text, wholeOf(text), "a")).toEqual({ start: 17, end: 18 });
  });
});

describe("itemsOf", () => {
  it.each([
    ["[]", []],
    [" [ ] ", []],
    ["[1]", ["1"]],
    ['[ 1.50 ,"a,b" , [2,[3]],{"x":[4]} ]', ["1.50", '"a,b"', "[2,[3]]", '{"x":[4]}']],
  ])("finds those of %j", (text, items) => {
    const spans = itemsOf(text, wholeOf(text));
    expect(spans.map(({ start, end }) => text.slice(start, end))).toEqual(items);
  });

  it("takes 100,000 levels and 100,000 items", () => {
    const deep = `[${"[".repeat(100_000)}${"]".repeat(100_000)},1]`;
    expect(itemsOf(deep, wholeOf(deep)).length).toBe(2);
    const wide = `[${"1,".repeat(99_999)}1]`;
    expect(itemsOf(wide, wholeOf(wide)).length).toBe(100_000);
  });
});

describe("setMember", () => {
  it.each([
    ['{"a":1.0,"b":[2.0]}', "a", "7", '{"a":7,"b":[2.0]}'],
    ['{"a":1.0,"b":[2.0]}', "b", "7", '{"a":1.0,"b":7}'],
    ['{"a":1.0 }', "b", "7", '{"a":1.0 ,"b":7}'],
    ["{ }", "b", "7", '{ "b":7}'],
    ['{"a":1,"a":2}', "a", "7", '{"a":1,"a":7}'],
  ])("in %s sets %s to %s", (text, key, value, expected) => {
    expect(spliced(text, [setMember(text, wholeOf(text), [key, value])])).toBe(expected);
  });

  it("makes several splices in any order", () => {
    const text = '{"a":1,"b":2,"c":3}';
    const splices = ["c", "a"].map((key) => setMember(text, wholeOf(text), [key, "null"]));
    expect(spliced(text, splices)).toBe('{"a":null,"b":2,"c":null}');
  });
});

describe("withMember", () => {
  it.each([
    ['{"status":"live"}', '{"status":"lost"}'],
    ['{"a":10.0,"status":"live","b":1e2}', '{"a":10.0,"status":"lost","b":1e2}'],
    [' { "status" : { "x":[1,{}] } , "b":-0 } ', ' { "status" : "lost" , "b":-0 } '],
    [
      '{"a":{"status":"live"},"b":["status",":"]}',
      '{"a":{"status":"live"},"b":["status",":"],"status":"lost"}',
    ],
    ['{"st\\u0061tus":1,"a":1}', '{"st\\u0061tus":"lost","a":1}'],
    ['{"status":1,"status":2}', '{"status":1,"status":"lost"}'],
    ['{"a\\"":"\\\\","status":"\\"}{,:\\\\\\""}', '{"a\\"":"\\\\","status":"lost"}'],
    [" { } ", ' { "status":"lost"} '],
    ['{"":"status"}', '{"":"status","status":"lost"}'],
  ])("changes %s into %s", (json, expected) => {
    const changed = withMember(json, "status", '"lost"');
    expect(changed).toBe(expected);
    expect(JSON.parse(changed)).toEqual({ ...JSON.parse(json), status: "lost" });
  });
});
