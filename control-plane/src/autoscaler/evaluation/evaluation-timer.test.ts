import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Evaluation } from "./evaluation-record.ts";
import { EvaluationTimer } from "./evaluation-timer.ts";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function harness({
  tookMs = 0,
  lastAgeMs,
}: {
  readonly tookMs?: number;
  readonly lastAgeMs?: number;
} = {}) {
  let seconds = 60;
  let running = 0;
  let most = 0;
  const startedMs: number[] = [];
  const listeners = new Set<() => void>();
  const clock = { nowMs: () => Date.now() };
  const originMs = Date.now();
  const evaluator = {
    evaluate: async () => {
      running += 1;
      most = Math.max(most, running);
      startedMs.push(Date.now() - originMs);
      await new Promise((resolve) => setTimeout(resolve, tookMs));
      running -= 1;
      return { decisions: [] } as unknown as Evaluation;
    },
  };
  const timer = new EvaluationTimer({
    ...{ evaluator, clock, intervalSeconds: () => seconds, lastAgeMs: () => lastAgeMs },
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  });
  const change = (to: number) => {
    seconds = to;
    for (const listener of listeners) listener();
  };
  return { timer, startedMs, change, most: () => most };
}

describe("the timer of evaluations", () => {
  it("has one made an interval after the start, and in each interval then", async () => {
    const { timer, startedMs } = harness();
    await timer.start();
    await vi.advanceTimersByTimeAsync(180_500);
    expect(startedMs).toEqual([60_000, 120_000, 180_000]);
    await timer.stop();
    await vi.advanceTimersByTimeAsync(600_000);
    expect(startedMs).toHaveLength(3);
  });

  it.each([
    [20_000, 40_000],
    [-5_000, 60_000],
    // What is due waits until the agents are back.
    [3_600_000, 15_000],
  ])(
    "counts the interval from one that was made %i ms before the start",
    async (lastAgeMs, firstMs) => {
      const { timer, startedMs } = harness({ lastAgeMs });
      await timer.start();
      await vi.advanceTimersByTimeAsync(firstMs + 60_500);
      expect(startedMs).toEqual([firstMs, firstMs + 60_000]);
      await timer.stop();
    },
  );

  it("follows a new interval at once", async () => {
    const { timer, startedMs, change } = harness();
    change(3_600);
    await timer.start();
    await vi.advanceTimersByTimeAsync(10_000);
    change(1);
    await vi.advanceTimersByTimeAsync(2_500);
    expect(startedMs).toEqual([10_000, 11_000, 12_000]);
    await timer.stop();
  });

  it("piles nothing up behind one that takes long", async () => {
    const { timer, startedMs, change, most } = harness({ tookMs: 2_500 });
    change(1);
    await timer.start();
    await vi.advanceTimersByTimeAsync(10_000);
    change(1);
    // A timer of 0 ms fires after one.
    expect(startedMs).toEqual([1_000, 3_501, 6_002, 8_503]);
    expect(most()).toBe(1);
    const stopping = timer.stop();
    await vi.advanceTimersByTimeAsync(3_000);
    await stopping;
  });

  it("makes those by hand one after the other, and counts the interval from them", async () => {
    const { timer, startedMs, most } = harness({ tookMs: 100 });
    await timer.start();
    await vi.advanceTimersByTimeAsync(30_000);
    const both = Promise.all([timer.evaluateNow(false), timer.evaluateNow(false)]);
    await vi.advanceTimersByTimeAsync(200);
    await both;
    await vi.advanceTimersByTimeAsync(59_900);
    expect(startedMs).toEqual([30_000, 30_100, 90_100]);
    expect(most()).toBe(1);
    const many = Array.from({ length: 20 }, () => timer.evaluateNow(true));
    const ended = Promise.allSettled(many);
    await vi.advanceTimersByTimeAsync(5_000);
    const refused = (await ended).filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(4);
    await timer.stop();
  });
});
