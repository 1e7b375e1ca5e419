import { expect, test } from "vitest";
import { LIMITS_BY_KIND } from "./limits.ts";

test.each([
  ["allocator", 30_000, 20_000],
  ["ranking", 30_000, 20_000],
  ["workflow", 30_000, 20_000],
  ["resource_allocator", 10_000, 5_000],
  ["precheck", 5_000, 2_000],
  ["event", 5_000, 2_000],
  ["stability", 5_000, 2_000],
] as const)("%s gets %d ms wall and %d ms CPU", (kind, wallMs, cpuMs) => {
  expect(LIMITS_BY_KIND[kind]).toMatchObject({ wallMs, cpuMs });
});
