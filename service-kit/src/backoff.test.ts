import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";

describe("backoffMs", () => {
  const longest = (failures: number) =>
    backoffMs(failures, { firstMs: 100, capMs: 5_000, random: () => 1 });

  it("doubles its bound with each failure up to the cap", () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8].map(longest)).toEqual([
      100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000,
    ]);
  });

  it("stays at the cap after any number of failures", () => {
    for (const failures of [50, 2_000, Number.MAX_SAFE_INTEGER]) {
      expect(longest(failures)).toBe(5_000);
    }
  });

  it("never goes below a quarter of its bound", () => {
    expect(backoffMs(1, { firstMs: 100, capMs: 5_000, random: () => 0 })).toBe(25);
  });

  it("treats no failure like the first", () => {
    expect(longest(0)).toBe(100);
  });

  it("spreads callers over its range by default", () => {
    const delays = Array.from({ length: 200 }, () => backoffMs(3, { firstMs: 100, capMs: 5_000 }));
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(100);
    expect(Math.max(...delays)).toBeLessThanOrEqual(400);
    expect(new Set(delays).size).toBeGreaterThan(100);
  });
});
