import { expect, it } from "vitest";
import { ChildPace } from "./child-pace.ts";
import { GPU_TIMINGS } from "./gpu-timings.ts";

const bounds = (capMs: number) => [capMs / 4, capMs] as const;
const expectWithin = (delayMs: number, [least, most]: readonly [number, number]) => {
  expect(delayMs).toBeGreaterThanOrEqual(least);
  expect(delayMs).toBeLessThanOrEqual(most);
};
const soon = { ranMs: 2_000, isReplaced: false };

it("waits longer with every child that dies two seconds after its start", () => {
  const pace = new ChildPace(GPU_TIMINGS);
  for (const capMs of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    expectWithin(pace.delayAfter(soon), bounds(capMs));
  }
});

it.each([
  ["ran for a minute", { ranMs: 60_000, isReplaced: false }],
  ["was replaced", { ranMs: 10, isReplaced: true }],
])("begins anew after a child that %s", (_how, end) => {
  const pace = new ChildPace(GPU_TIMINGS);
  for (let count = 0; count < 6; count += 1) pace.delayAfter(soon);
  expectWithin(pace.delayAfter(end), bounds(500));
  expectWithin(pace.delayAfter(soon), bounds(1_000));
});

it("ends a child after three silent intervals, and not for a hiccup of short ones", () => {
  const pace = new ChildPace(GPU_TIMINGS);
  expect(pace.quietLimitMs(true, 1_000)).toBe(3_000);
  expect(pace.quietLimitMs(true, 60_000)).toBe(180_000);
  expect(pace.quietLimitMs(true, 100)).toBe(3_000);
});

it("gives a child the time of a query for its first line", () => {
  const pace = new ChildPace(GPU_TIMINGS);
  expect(pace.quietLimitMs(false, 1_000)).toBe(GPU_TIMINGS.listDeadlineMs);
});
