import { type LogFields, type Logger, silentLogger } from "@berth/service-kit";
import { beforeEach, describe, expect, it } from "vitest";
import { HandClock } from "../testing/fixtures.ts";
import { EventHold } from "./event-hold.ts";

let clock: HandClock;
let lines: { message: string; why: unknown }[];
let hold: EventHold;

beforeEach(() => {
  clock = new HandClock();
  lines = [];
  const keep = (message: string, fields: LogFields = {}) =>
    lines.push({ message, why: fields.why });
  const logger: Logger = { ...silentLogger, warn: keep, info: keep };
  hold = new EventHold({
    clock,
    logger,
    retry: { firstMs: 1_000, capMs: 60_000, random: () => 1 },
  });
});

/** Time for which events are held after one more refusal, ms. */
function heldMs(why = "full"): number {
  hold.refused(why);
  let ms = 0;
  for (; hold.isOn; ms += 500) clock.advance(500);
  return ms;
}

describe("EventHold", () => {
  it("holds events back for longer each time, 60 s at most, and anew once they were taken", () => {
    expect(hold.isOn).toBe(false);
    const times = Array.from({ length: 8 }, () => heldMs());
    expect(times).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    hold.taken();
    expect(heldMs()).toBe(1_000);
  });

  it("counts refusals of what was sent together as one", () => {
    for (let n = 0; n < 5; n += 1) hold.refused("full");
    clock.advance(1_000);
    expect(hold.isOn).toBe(false);
    expect(heldMs()).toBe(2_000);
  });

  it("holds them while the agent only observes, refused or not, and wakes who waits at the end of it", async () => {
    hold.observing = true;
    expect(hold.isOn).toBe(true);
    clock.advance(3_600_000);
    expect(hold.isOn).toBe(true);
    const signal = AbortSignal.timeout(10_000);
    const ended = hold.changed(signal);
    hold.observing = false;
    await ended;
    expect(signal.aborted).toBe(false);
    expect(hold.isOn).toBe(false);
  });

  it("logs each change once", () => {
    for (const why of ["full", "full", "away", "away"]) heldMs(why);
    hold.taken();
    hold.taken();
    expect(lines.map(({ why }) => why)).toEqual(["full", "away", undefined]);
  });

  it("wakes who begins to wait after the time has ended, and once only", async () => {
    const signal = AbortSignal.timeout(10_000);
    hold.refused("full");
    expect(hold.isOn).toBe(true);
    clock.advance(1_000);
    await hold.changed(signal);
    expect(signal.aborted).toBe(false);
    const next = AbortSignal.timeout(50);
    await hold.changed(next);
    expect(next.aborted).toBe(true);
  });

  it("wakes who waits at a refusal, and when the time is over", async () => {
    const signal = AbortSignal.timeout(10_000);
    const refused = hold.changed(signal);
    hold.refused("full");
    await refused;
    const begunMs = performance.now();
    await hold.changed(signal);
    expect(performance.now() - begunMs).toBeGreaterThan(900);
    expect(signal.aborted).toBe(false);
  });
});
