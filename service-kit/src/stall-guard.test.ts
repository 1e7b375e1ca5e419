import { expect, it } from "vitest";
import { StallGuard } from "./stall-guard.ts";

it("tells a stall once, and goes on from it", () => {
  let nowMs = 0;
  const guard = new StallGuard({ nowMs: () => nowMs, timestamp: () => "" }, 3_000);
  const asks = [1_000, 2_000, 5_001, 6_000, 9_000, 12_001];
  const told = asks.map((atMs) => {
    nowMs = atMs;
    return guard.hasStalled();
  });
  expect(told).toEqual([false, false, true, false, false, true]);
});
