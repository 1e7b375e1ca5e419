import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { deepMerge } from "./deep-merge.ts";

describe("deepMerge", () => {
  it("lets the request's values win, object by object", () => {
    const defaults = { a: 1, b: { c: 2, d: [1, 2] }, e: { f: 1 } };
    const overrides = { a: 5, b: { d: [3] }, e: null };
    expect(deepMerge(defaults, overrides)).toEqual({ a: 5, b: { c: 2, d: [3] }, e: null });
  });

  it("keeps raw numbers and treats __proto__ as a plain key", () => {
    const overrides = parseLossless('{"x":10.0,"__proto__":{"polluted":true}}');
    const merged = deepMerge({ x: 1 }, overrides as Record<string, unknown>);
    expect(JSON.stringify(merged)).toBe('{"x":10.0,"__proto__":{"polluted":true}}');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
});
