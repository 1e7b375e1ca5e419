import { Quality } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { fingerprint, gpuSample, hostSample } from "../testing/fixtures.ts";
import { checkFingerprint } from "./check-fingerprint.ts";
import { checkGpuSample, checkHostSample, readingQuality } from "./check-samples.ts";

const inventory = checkFingerprint(fingerprint());

describe("checkHostSample", () => {
  it("keeps good fields and tells no problem", () => {
    const { reading, problems } = checkHostSample(hostSample(), inventory);
    expect(problems).toEqual([]);
    expect(reading).toMatchObject({
      quality: "measured",
      cpuUtilizationPercent: 25,
      memoryUsedMiB: 16_000,
      disks: [{ mountPoint: "/", usedMiB: 40_000, availableMiB: 55_000 }],
    });
  });

  it.each([
    ["cpuUtilizationPercent", 101],
    ["cpuUtilizationPercent", -1],
    ["load1m", Number.NaN],
    ["load5m", Number.POSITIVE_INFINITY],
  ])("drops %s = %d, names it and keeps the rest", (field, value) => {
    const { reading, problems } = checkHostSample(hostSample({ [field]: value }), inventory);
    expect(problems.map((problem) => problem.field)).toEqual([`host ${field}`]);
    expect(reading).not.toHaveProperty(field);
    expect(reading.memoryUsedMiB).toBe(16_000);
  });

  it("leaves absent fields absent", () => {
    const sample = hostSample();
    delete sample.load1m;
    const { reading, problems } = checkHostSample(sample, inventory);
    expect(reading).not.toHaveProperty("load1m");
    expect(problems).toEqual([]);
  });

  it("drops disks and interfaces that the fingerprint does not name, and doubles", () => {
    const disk = { mountPoint: "/", usedMib: 1n, availableMib: 1n };
    const sample = hostSample({
      disks: [disk, disk, { ...disk, mountPoint: "/mnt" }],
      networkInterfaces: [{ name: "wlan0", transmittedBytes: 1n, receivedBytes: 1n }],
    });
    const { reading, problems } = checkHostSample(sample, inventory);
    expect(reading.disks).toHaveLength(1);
    expect(reading.networkInterfaces).toEqual([]);
    expect(problems).toHaveLength(3);
  });
});

describe("checkGpuSample", () => {
  it("drops values out of range and a malformed performance state", () => {
    const sample = gpuSample("GPU-1", {
      utilizationPercent: 250,
      temperatureC: Number.NaN,
      performanceState: "fast",
    });
    const { reading, problems } = checkGpuSample(sample);
    expect(problems.map((problem) => problem.field).sort()).toEqual([
      "gpu GPU-1 performanceState",
      "gpu GPU-1 temperatureC",
      "gpu GPU-1 utilizationPercent",
    ]);
    expect(reading).toMatchObject({ powerW: 300, memoryUsedMiB: 8_192 });
    expect(reading).not.toHaveProperty("performanceState");
  });
});

describe("readingQuality", () => {
  it.each([
    [Quality.MEASURED, "measured"],
    [Quality.DERIVED, "derived"],
    [Quality.STALE, "stale"],
    [Quality.SIMULATED, "simulated"],
    [Quality.UNAVAILABLE, "unavailable"],
    [Quality.UNSPECIFIED, "unavailable"],
    [99 as Quality, "unavailable"],
  ])("reads %d as %s", (quality, word) => {
    expect(readingQuality(quality)).toBe(word);
  });
});
