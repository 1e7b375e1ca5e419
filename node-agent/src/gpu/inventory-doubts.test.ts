import { expect, it } from "vitest";
import { InventoryDoubts } from "./inventory-doubts.ts";

const LINE = "Unable to determine the device handle for GPU3: 0000:5F:00.0: Unknown Error";

function listedAt(nowMs: number): InventoryDoubts {
  const doubts = new InventoryDoubts({ relistMs: 30_000, relistLostMs: 1_000 });
  doubts.listed(nowMs, true);
  return doubts;
}

it("asks again for readings that do not fit only when the last listing is old", () => {
  const doubts = listedAt(5_000);
  expect(doubts.ofReadings(35_000)).toBe(false);
  expect(doubts.ofReadings(35_001)).toBe(true);
});

it("asks again for a lost GPU right after a listing, once", () => {
  const doubts = listedAt(0);
  expect(doubts.ofLostGpu(LINE, 1_001)).toBe(true);
  expect(doubts.ofLostGpu(LINE, 2_000)).toBe(false);
  doubts.listed(2_500, false);
  expect(doubts.ofLostGpu(LINE, 100_000)).toBe(false);
  expect(doubts.ofLostGpu(LINE.replace("GPU3", "GPU5"), 4_000)).toBe(true);
});

it("hears the same line anew after the GPUs have changed", () => {
  const doubts = listedAt(0);
  doubts.ofLostGpu(LINE, 2_000);
  doubts.listed(3_000, true);
  expect(doubts.ofLostGpu(LINE, 3_500)).toBe(false);
  expect(doubts.ofLostGpu(LINE, 4_001)).toBe(true);
});

it("asks no more often for lines without end than for readings", () => {
  const doubts = listedAt(0);
  for (let at = 0; at < 64; at += 1) doubts.ofLostGpu(`${LINE} ${at}`, 2_000);
  expect(doubts.ofLostGpu(`${LINE} other`, 3_000)).toBe(false);
  expect(doubts.ofLostGpu(`${LINE} other`, 30_001)).toBe(true);
});
