import { expect, it } from "vitest";
import { coreShare, nextFactor, parseCpuMs } from "./child-cost.ts";

const stat = (name: string, user: number, system: number) =>
  `4711 (${name}) S 1 4711 4711 0 -1 4194304 210 0 0 0 ${user} ${system} 0 0 20 0 1 0 99 1000 50`;

it.each(["nvidia-smi", "a) R 9 (b", "x y z"])("reads user and system time of %j", (name) => {
  expect(parseCpuMs(stat(name, 150, 50))).toBe(2_000);
});

it.each(["", "4711 (nvidia-smi) S 1", "no process at all", stat("x", -1, 5)])(
  "reads no time from %j",
  (text) => {
    expect(parseCpuMs(text)).toBeUndefined();
  },
);

it("counts the share of a core between two readings of one process", () => {
  const before = { pid: 1, cpuMs: 1_000, atMs: 10_000 };
  expect(coreShare(before, { pid: 1, cpuMs: 4_000, atMs: 70_000 })).toBe(0.05);
  expect(coreShare(before, { pid: 2, cpuMs: 4_000, atMs: 70_000 })).toBeUndefined();
  expect(coreShare(before, { pid: 1, cpuMs: 900, atMs: 70_000 })).toBeUndefined();
  expect(coreShare(before, { pid: 1, cpuMs: 1_000, atMs: 10_000 })).toBeUndefined();
});

it.each([
  [1, 0.031, 2],
  [2, 0.05, 4],
  [4, 0.05, 8],
  [8, 0.05, 10],
  [10, 0.9, 10],
  [1, 0.03, 1],
  [1, 0, 1],
  [2, 0.025, 2],
  [2, 0.011, 2],
  [2, 0.009, 1],
  [10, 0.015, 8],
  [8, 0.009, 4],
])("goes from factor %d at a share of %d to %d", (factor, share, next) => {
  expect(nextFactor(factor, share)).toBe(next);
});

it("settles: what is dear at one step does not swing between two", () => {
  // A child that costs 40 ms a reading, at a wanted interval of 1 s.
  let factor = 1;
  const seen: number[] = [];
  for (let minute = 0; minute < 20; minute += 1) {
    factor = nextFactor(factor, 0.04 / factor);
    seen.push(factor);
  }
  expect(new Set(seen.slice(2)).size).toBe(1);
  expect(0.04 / factor).toBeLessThanOrEqual(0.03);
});
