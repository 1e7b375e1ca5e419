import { Quality } from "@berth/proto";
import { silentLogger } from "@berth/service-kit";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type LOAD_PATTERNS, loadAt } from "./load-pattern.ts";
import { idSeedOf } from "./mixed-hash.ts";
import { nodeGpus } from "./node-gpus.ts";
import { loadMachine, type MachineName } from "./profile.ts";
import { SimGpuSource } from "./sim-gpu-source.ts";
import { Wheel } from "./wheel.ts";

const INTERVAL_MS = 1_000;
let nowMs = 0;
let wheel: Wheel;
const clock = { nowMs: () => nowMs, timestamp: () => "" };

function pass(ms: number): void {
  for (let left = ms; left > 0; left -= 50) {
    nowMs += 50;
    vi.advanceTimersByTime(50);
  }
}

async function source(seed: number, name: MachineName = "h100", count = 8) {
  const machine = await loadMachine(name);
  const made = new SimGpuSource({
    recorded: machine.gpus,
    gpus: nodeGpus(machine.gpus, count, idSeedOf("1/n")),
    pattern: () => "waves",
    ...{ seed, clock, wheel, phaseMs: 0, bornMs: 0 },
  });
  await made.start();
  made.setIntervalMs(INTERVAL_MS);
  return made;
}

beforeEach(async () => {
  vi.useFakeTimers();
  nowMs = 0;
  wheel = new Wheel({ clock, logger: silentLogger });
  await wheel.start();
});

afterEach(async () => {
  await wheel.stop();
  vi.useRealTimers();
});

describe("drift", () => {
  it("is the same for the same seed, and another for another", async () => {
    const [one, same, other] = [await source(7), await source(7), await source(8)];
    pass(10_000);
    expect(one.samples()).toEqual(same.samples());
    expect(one.samples()).not.toEqual(other.samples());
    const before = one.samples();
    pass(10_000);
    expect(one.samples()).not.toEqual(before);
  });

  it("is marked simulated in samples and details", async () => {
    const one = await source(1);
    pass(2_000);
    for (const { quality, details } of one.samples()) {
      expect(quality).toBe(Quality.SIMULATED);
      expect(details?.quality).toBe(Quality.SIMULATED);
    }
  });

  it("stays within what a device has", async () => {
    const one = await source(3);
    for (let round = 0; round < 200; round += 1) {
      pass(1_000);
      for (const sample of one.samples()) {
        expect(sample.utilizationPercent).toBeGreaterThanOrEqual(0);
        expect(sample.utilizationPercent).toBeLessThanOrEqual(100);
        expect((sample.memoryUsedMib ?? 0n) + (sample.memoryFreeMib ?? 0n)).toBe(81_041n);
        expect(sample.powerW).toBeLessThanOrEqual(700);
      }
    }
  });

  it("says nothing that the recorded device did not say", async () => {
    const one = await source(3, "t4", 1);
    pass(2_000);
    expect(one.samples()[0]?.powerW).toBeUndefined();
    expect(one.samples()[0]?.utilizationPercent).toBeDefined();
  });

  it("loads as the patterns say", () => {
    const mean = (pattern: (typeof LOAD_PATTERNS)[number]) => {
      const loads = Array.from({ length: 400 }, (_none, at) => loadAt(pattern, at, at * 7_000));
      return loads.reduce((sum, { compute }) => sum + compute, 0) / loads.length;
    };
    expect(mean("idle")).toBeLessThan(0.05);
    expect(mean("busy")).toBeGreaterThan(0.9);
    expect(mean("waves")).toBeGreaterThan(0.35);
    expect(mean("waves")).toBeLessThan(0.65);
    expect(mean("steady")).toBeGreaterThan(0.45);
  });
});

describe("inventory", () => {
  it("has ids of its own per node and slot, also of MIG parts, the same over restarts", async () => {
    const { gpus: recorded } = await loadMachine("a100-mig");
    const ids = (key: string) =>
      nodeGpus(recorded, 9, idSeedOf(key)).flatMap(({ info }) => [
        info.uuid,
        ...info.migDevices.map(({ uuid }) => uuid),
      ]);
    expect(new Set([...ids("a"), ...ids("b")]).size).toBe(2 * ids("a").length);
    expect(ids("a")).toEqual(ids("a"));
    const addresses = nodeGpus(recorded, 9, idSeedOf("a")).map(({ info }) => info.pciBusId);
    expect(new Set(addresses).size).toBe(9);
  });

  it("has a topology of its GPUs, also of more than were recorded", async () => {
    const topology = (await source(1, "h100", 10)).inventory().topology;
    expect(topology?.rows).toHaveLength(10);
    expect(topology?.rows[0]?.links.slice(0, 10)).toEqual([
      "X",
      ...Array.from({ length: 7 }, () => "NV18"),
      "SYS",
      "SYS",
    ]);
  });
});

describe("faults", () => {
  it("takes a failed GPU out of the inventory with the driver's words, until it is back", async () => {
    const one = await source(1);
    const events: string[] = [];
    one.subscribe((event) => events.push(event));
    pass(2_000);
    one.fail(3);
    expect(events).toContain("inventory");
    expect(one.inventory().gpus).toHaveLength(7);
    expect(one.inventory().error).toMatch(/^Unable to determine the device handle for GPU3: /);
    expect(one.samples()).toHaveLength(7);
    one.restore(3);
    expect(one.inventory()).toMatchObject({ error: "", remarks: [] });
    expect(one.samples()).toHaveLength(8);
  });

  it("lets values of a hung driver grow stale after 3 intervals and unavailable 5 s later", async () => {
    const one = await source(1);
    pass(2_000);
    one.setHung(true);
    const quality = () => one.samples()[0]?.quality;
    pass(2_500);
    expect(quality()).toBe(Quality.SIMULATED);
    pass(2_000);
    expect(quality()).toBe(Quality.STALE);
    expect(one.inventory().driverHung).toBe(false);
    pass(6_000);
    expect(quality()).toBe(Quality.UNAVAILABLE);
    expect(one.inventory().driverHung).toBe(true);
    one.setHung(false);
    pass(1_000);
    expect(quality()).toBe(Quality.SIMULATED);
    expect(one.inventory()).toMatchObject({ driverHung: false, error: "" });
  });
});
