import type { GpuSample } from "@berth/proto";
import { beforeAll, describe, expect, it } from "vitest";
import { gpuReading } from "./gpu-reading.ts";
import type { LoadPattern } from "./load-pattern.ts";
import { loadMachine, type MachineName } from "./profile.ts";

const SECONDS = Array.from({ length: 240 }, (_none, second) => second * 1_000);
const SEEDS = Array.from({ length: 256 }, (_none, seed) => seed);
const recordings = new Map<MachineName, GpuSample>();

beforeAll(async () => {
  for (const name of ["h100", "t4"] as const) {
    const [sample] = (await loadMachine(name)).gpus.samples;
    if (sample === undefined) throw new Error("the recording has no GPU");
    recordings.set(name, sample);
  }
});

function readings(pattern: LoadPattern, seed: number, name: MachineName = "h100"): GpuSample[] {
  const recorded = recordings.get(name);
  if (recorded === undefined) throw new Error("no recording");
  return SECONDS.map((atMs) => gpuReading(recorded, { pattern, seed, atMs }));
}

const reasonsIn = (samples: readonly GpuSample[]) =>
  new Set(samples.flatMap(({ throttleReasons }) => throttleReasons));

describe("throttle reasons", () => {
  it.each<LoadPattern>(["idle", "steady", "waves", "busy"])(
    "say sw_power_cap exactly at the power limit, under %s load",
    (pattern) => {
      for (const { powerW, powerLimitW, throttleReasons } of readings(pattern, 5)) {
        expect(powerW).toBeLessThanOrEqual(powerLimitW ?? 0);
        expect(throttleReasons.includes("sw_power_cap")).toBe(powerW === powerLimitW);
      }
    },
  );

  it("follow the load up and down", () => {
    expect(reasonsIn(readings("waves", 5))).toEqual(new Set(["gpu_idle", "sw_power_cap"]));
    expect(reasonsIn(readings("steady", 5))).toEqual(new Set());
    expect(reasonsIn(readings("idle", 5))).toContain("gpu_idle");
    expect(reasonsIn(readings("busy", 5))).toEqual(new Set(["sw_power_cap"]));
  });

  it("say sw_thermal_slowdown of the few GPUs that a full load makes hot, all the time", () => {
    const isHot = ({ temperatureC = 0 }: GpuSample) => temperatureC >= 85;
    const hot = SEEDS.filter((seed) => readings("busy", seed).some(isHot));
    expect(hot.length).toBeGreaterThan(0);
    expect(hot.length).toBeLessThan(SEEDS.length / 16);
    for (const sample of hot.flatMap((seed) => readings("busy", seed))) {
      expect([isHot(sample), sample.throttleReasons.includes("sw_thermal_slowdown")]).toEqual([
        true,
        true,
      ]);
    }
    const [first = 0] = hot;
    expect(reasonsIn(readings("waves", first))).not.toContain("sw_thermal_slowdown");
  });

  it("name no power limit of a device that tells no power", () => {
    expect(reasonsIn(readings("busy", 5, "t4"))).toEqual(new Set());
  });
});
