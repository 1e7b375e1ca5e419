import { describe, expect, it } from "vitest";
import { findsPattern, linearPattern } from "./patterns.ts";

describe("linearPattern", () => {
  it("finds a pattern anywhere in a text", () => {
    const finds = linearPattern("b+", "LIKE");
    expect([finds("abba"), finds("aaa"), finds("")]).toEqual([true, false, false]);
  });

  it("names the field of a bad pattern", () => {
    expect(() => linearPattern("[", "LIKE")).toThrow("LIKE: bad pattern: ");
  });
});

describe("findsPattern", () => {
  const document = { a: [{ b: ["x", ["y"], 1] }, { b: "z" }], "0": "n", c: ["p", { "0": "q" }] };

  it.each([
    ["a.b", "x", true],
    ["a.b", "y", true],
    ["a.b", "z", true],
    ["a.1.b", "z", true],
    ["a.1.b", "x", false],
    ["a.b.0", "x", true],
    ["c.0", "p", true],
    ["c.0", "q", true],
    ["0", "n", true],
    ["a", "x", false],
    ["toString", "f", false],
    ["a.b.length", "3", false],
  ])("looks at %s for %s", (path, text, found) => {
    expect(findsPattern(path, (value) => value === text)(document)).toBe(found);
  });

  it("looks at each place once, whichever ways of indices and items lead there", () => {
    let nested: unknown = "end";
    for (let level = 0; level < 60; level += 1) nested = [{ "0": nested }];
    const path = Array.from({ length: 60 }, () => "0").join(".");
    const looked: string[] = [];
    const finds = findsPattern(path, (text) => looked.push(text) === 0);
    expect(finds({ nested: 1 })).toBe(false);
    expect(finds(nested as object)).toBe(false);
    expect(looked.length).toBeLessThan(10);
  });
});
