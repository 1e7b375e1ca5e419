import { expect, it } from "vitest";
import { failuresAfter, RESTART_RULES, restartDelayMs } from "./restart-delay.ts";

it("waits 1 s after the first end, doubles up to a minute, and never exceeds it", () => {
  const rules = { ...RESTART_RULES, random: () => 1 };
  const delays = [1, 2, 3, 6, 7, 8, 1_000].map((failures) => restartDelayMs(failures, rules));
  expect(delays).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000, 60_000]);
  expect(restartDelayMs(0, rules)).toBe(0);
});

it("begins anew after a minute of running", () => {
  expect(failuresAfter(7, 59_999, RESTART_RULES)).toBe(8);
  expect(failuresAfter(7, 60_000, RESTART_RULES)).toBe(1);
});
