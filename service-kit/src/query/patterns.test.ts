import { describe, expect, it } from "vitest";
import { linearPattern } from "./patterns.ts";

describe("linearPattern", () => {
  it("finds a pattern anywhere in a text", () => {
    const finds = linearPattern("b+", "LIKE");
    expect([finds("abba"), finds("aaa"), finds("")]).toEqual([true, false, false]);
  });

  it("names the field of a bad pattern", () => {
    expect(() => linearPattern("[", "LIKE")).toThrow("LIKE: bad pattern: ");
  });
});
