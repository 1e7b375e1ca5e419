import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type BudgetAnswer, ByteBudget } from "./byte-budget.ts";

const LIMITS = { maxBytes: 100, maxWaiting: 3, waitMs: 5_000 };
const stays = new AbortController().signal;

/** Asks, and notes the answer under a name. */
function asker(budget: ByteBudget) {
  const told: [string, BudgetAnswer][] = [];
  const ask = async (name: string, bytes: number, signal = stays) => {
    told.push([name, await budget.take(bytes, signal)]);
  };
  return { told, ask };
}

describe("ByteBudget", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("gives bytes until there are none, and again when they come back", () => {
    const budget = new ByteBudget(LIMITS);
    expect(budget.tryTake(60)).toBe(true);
    expect(budget.tryTake(41)).toBe(false);
    expect(budget.tryTake(40)).toBe(true);
    budget.giveBack(60);
    expect(budget.tryTake(60)).toBe(true);
  });

  it("lets one taker have more than the whole budget, alone", () => {
    const budget = new ByteBudget(LIMITS);
    expect(budget.tryTake(500)).toBe(true);
    expect(budget.tryTake(1)).toBe(false);
  });

  it("serves those who wait in the order of asking, and nobody ahead of them", async () => {
    const budget = new ByteBudget(LIMITS);
    const { told, ask } = asker(budget);
    budget.tryTake(90);
    const asked = [ask("large", 80), ask("small", 10)];
    expect(budget.tryTake(1)).toBe(false);
    budget.giveBack(90);
    await Promise.all(asked);
    expect(told).toEqual([
      ["large", "taken"],
      ["small", "taken"],
    ]);
    expect([budget.usedBytes, budget.waiting]).toEqual([90, 0]);
  });

  it("answers who has waited for too long, and serves those behind", async () => {
    const budget = new ByteBudget(LIMITS);
    const { told, ask } = asker(budget);
    budget.tryTake(90);
    const late = ask("large", 80);
    await vi.advanceTimersByTimeAsync(1_000);
    const served = ask("small", 10);
    await vi.advanceTimersByTimeAsync(3_999);
    expect(told).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    await Promise.all([late, served]);
    expect(told).toEqual([
      ["large", "late"],
      ["small", "taken"],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("answers at once when too many wait", async () => {
    const budget = new ByteBudget(LIMITS);
    const { told, ask } = asker(budget);
    budget.tryTake(100);
    for (const name of ["a", "b", "c"]) void ask(name, 1);
    await ask("d", 1);
    expect(told).toEqual([["d", "crowded"]]);
  });

  it("forgets who has left, and gives it nothing", async () => {
    const budget = new ByteBudget(LIMITS);
    const { told, ask } = asker(budget);
    const leaves = new AbortController();
    budget.tryTake(100);
    const asked = [ask("leaves", 50, leaves.signal), ask("stays", 50)];
    leaves.abort();
    budget.giveBack(100);
    await Promise.all([...asked, ask("came late", 1, leaves.signal)]);
    expect(told.toSorted()).toEqual([
      ["came late", "gone"],
      ["leaves", "gone"],
      ["stays", "taken"],
    ]);
    expect(budget.usedBytes).toBe(50);
  });
});
