import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AckDeadline } from "./ack-deadline.ts";

const KIB = 1024;
let late: number[];
let deadline: AckDeadline;

beforeEach(() => {
  vi.useFakeTimers();
  late = [];
  const times = { baseMs: 15_000, msPer64KiB: 1_000 };
  deadline = new AckDeadline(times, (limitMs) => late.push(limitMs));
});
afterEach(() => {
  deadline.stop();
  vi.useRealTimers();
});

describe("AckDeadline", () => {
  it("fires when the newest message is not acknowledged", () => {
    deadline.sent(1n, 0);
    vi.advanceTimersByTime(14_000);
    deadline.sent(2n, 0);
    deadline.acked(1n);
    vi.advanceTimersByTime(14_999);
    expect(late).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(late).toEqual([15_000]);
  });

  it("gives a second more for each 64 KiB of the message that is waited for", () => {
    deadline.sent(1n, 10);
    deadline.sent(2n, 4_096 * KIB);
    deadline.sent(3n, 10);
    deadline.acked(1n);
    vi.advanceTimersByTime(15_000 + 63_000);
    expect(late).toEqual([]);
    deadline.acked(2n);
    vi.advanceTimersByTime(15_999);
    expect(late).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(late).toEqual([16_000]);
  });

  it("fires for a message of 4 MiB that nobody takes", () => {
    deadline.sent(1n, 4_096 * KIB);
    vi.advanceTimersByTime(79_000);
    expect(late).toEqual([79_000]);
  });

  it("holds no timer once everything is acknowledged", () => {
    deadline.sent(1n, 0);
    deadline.sent(2n, 0);
    deadline.acked(2n);
    expect(vi.getTimerCount()).toBe(0);
  });
});
