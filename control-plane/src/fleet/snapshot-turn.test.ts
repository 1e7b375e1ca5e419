import { describe, expect, it } from "vitest";
import { ADMISSION_LIMITS } from "./snapshot-admission.ts";
import { SnapshotTurn } from "./snapshot-turn.ts";

const KIB = 1024;

/** Seconds that a turn lasts when so many bytes have come by each of them; 1,000 when it does not end. */
function secondsOf(receivedBytes: (second: number) => number): number {
  const turn = new SnapshotTurn(ADMISSION_LIMITS, receivedBytes(0));
  for (let second = 1; second < 1_000; second += 1) {
    if (!turn.goesOn(1_000, receivedBytes(second))) return second;
  }
  return 1_000;
}

describe("SnapshotTurn", () => {
  it("ends after 15 s without a byte, at its beginning and later", () => {
    expect(secondsOf(() => 0)).toBe(15);
    expect(secondsOf(() => 500 * KIB)).toBe(15);
    expect(secondsOf((second) => Math.min(second, 10) * 100 * KIB)).toBe(25);
  });

  it("ends after 30 s when bytes come that are no snapshot", () => {
    expect(secondsOf((second) => Math.floor(second / 10))).toBe(31);
  });

  it("lasts as long as a slow line takes for a large snapshot, and not for ever", () => {
    const megabit = (second: number) => second * 125_000;
    expect(secondsOf((second) => Math.min(megabit(second), 4_000_000))).toBeGreaterThan(32 + 14);
    expect(secondsOf((second) => second * 64 * KIB)).toBe(286);
    expect(secondsOf((second) => second * 1_024 * KIB)).toBe(286);
  });
});
