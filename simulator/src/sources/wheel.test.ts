import { silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Wheel } from "./wheel.ts";

let nowMs = 0;
let wheel: Wheel;

/** Lets time pass for the clock and the timers alike. */
function pass(ms: number): void {
  nowMs += ms;
  vi.advanceTimersByTime(ms);
}

beforeEach(async () => {
  vi.useFakeTimers();
  nowMs = 0;
  const clock = { nowMs: () => nowMs, timestamp: () => "" };
  wheel = new Wheel({ clock, logger: silentLogger, turnMs: 10 });
  await wheel.start();
});

afterEach(async () => {
  await wheel.stop();
  vi.useRealTimers();
});

it("runs a task at its phase and then at each interval, until it leaves", () => {
  const ran: number[] = [];
  const leave = wheel.every(100, 30, () => ran.push(nowMs));
  for (let turn = 0; turn < 30; turn += 1) pass(10);
  expect(ran).toEqual([30, 130, 230]);
  leave();
  for (let turn = 0; turn < 30; turn += 1) pass(10);
  expect(ran).toHaveLength(3);
});

it("runs a task once for all turns that it missed, and keeps its phase", () => {
  const ran: number[] = [];
  wheel.every(100, 30, () => ran.push(nowMs));
  nowMs = 1_000;
  vi.advanceTimersByTime(10);
  expect(ran).toEqual([1_000]);
  pass(30);
  expect(ran).toEqual([1_000, 1_030]);
});

it("goes on when a task throws", () => {
  let ran = 0;
  wheel.every(10, 0, () => {
    ran += 1;
    throw new Error("no");
  });
  pass(10);
  pass(10);
  expect(ran).toBe(2);
});
