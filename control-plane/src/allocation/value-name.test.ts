import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { valueName } from "./value-name.ts";

describe("valueName", () => {
  it.each([
    ["null", "null"],
    ["[]", "array"],
    ["{}", "object"],
    ['"a"', "string"],
    ["7", "number"],
    ["7.0", "number"],
    ["98765432109876543210", "number"],
    ["1e999", "the number 1e999"],
    ["-1E+999", "the number -1E+999"],
  ])("calls %s %s", (json, name) => {
    expect(valueName(parseLossless(json))).toBe(name);
  });

  it("repeats no more than the beginning of a long number", () => {
    expect(valueName(parseLossless("9".repeat(5_000)))).toBe(`the number ${"9".repeat(40)}…`);
  });
});
