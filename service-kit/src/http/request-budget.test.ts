import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { RequestBudget } from "./request-budget.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const stays = new AbortController().signal;

describe("RequestBudget", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("holds 48 MiB of large requests and 16 MiB of middling ones, which do not wait for each other", () => {
    const budget = new RequestBudget();
    const large = Array.from({ length: 4 }, () => budget.tryHold(16 * MIB));
    expect(large.map((hold) => hold !== undefined)).toEqual([true, true, true, false]);
    expect(budget.tryHold(2 * MIB)).toBeUndefined();
    for (let count = 0; count < 16; count += 1) expect(budget.tryHold(MIB)).toBeDefined();
    expect(budget.tryHold(100 * KIB)).toBeUndefined();
    expect(budget.tryHold(64 * KIB)).toBeDefined();
    expect(budget.usedBytes).toBe(64 * MIB);
    large[0]?.release();
    large[0]?.release();
    expect(budget.usedBytes).toBe(48 * MIB);
    expect(budget.tryHold(16 * MIB)).toBeDefined();
  });

  it.each([
    [2 * MIB, 16 * MIB, 3, "requests of more than 1 MiB with 48 MiB together are being worked on"],
    [100 * KIB, MIB, 16, "requests of more than 64 KiB with 16 MiB together are being worked on"],
  ])(
    "refuses a request of %d bytes that got no share in time, and says what to do",
    async (asked, held, count, message) => {
      const budget = new RequestBudget();
      for (let one = 0; one < count; one += 1) budget.tryHold(held);
      const refused = expect(budget.hold(asked, stays)).rejects.toMatchObject({
        reason: "OVERLOADED",
        message: `${message}: try again in a moment, send fewer at a time or smaller ones`,
      });
      await vi.advanceTimersByTimeAsync(5_000);
      await refused;
      expect(budget.usedBytes).toBe(held * count);
    },
  );

  it("gives a share in its turn, and none to who has gone", async () => {
    const budget = new RequestBudget();
    const first = budget.tryHold(48 * MIB);
    const gone = new AbortController();
    const left = expect(budget.hold(2 * MIB, gone.signal)).rejects.toThrow("canceled");
    const waiting = budget.hold(3 * MIB, stays);
    gone.abort();
    await left;
    first?.release();
    (await waiting).release();
    expect(budget.usedBytes).toBe(0);
  });
});
