import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Recurring } from "./recurring.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("does its task in the interval and when it is woken, one at a time, and waits for it at its end", async () => {
  const ends: (() => void)[] = [];
  const failures: unknown[] = [];
  const recurring = new Recurring({
    ...{ name: "r", everyMs: 1_000, onFailure: (err) => failures.push(err) },
    task: async () => {
      await new Promise<void>((resolve) => ends.push(resolve));
      if (ends.length === 1) throw new Error("the first one fails");
    },
  });
  await recurring.start();
  expect(ends).toHaveLength(0);
  await vi.advanceTimersByTimeAsync(1_000);
  recurring.wake();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(ends).toHaveLength(1);
  ends[0]?.();
  await vi.advanceTimersByTimeAsync(0);
  expect(failures).toEqual([new Error("the first one fails")]);
  recurring.wake();
  expect(ends).toHaveLength(2);
  let isStopped = false;
  const stopped = recurring.stop().then(() => {
    isStopped = true;
  });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(isStopped).toBe(false);
  ends[1]?.();
  await stopped;
  recurring.wake();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(ends).toHaveLength(2);
  expect(vi.getTimerCount()).toBe(0);
});
