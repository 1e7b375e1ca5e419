import { Quality } from "@berth/proto";
import { expect, it } from "vitest";
import { GpuReadings } from "./gpu-readings.ts";

const reading = (uuid: string, temperatureC = 40) => ({ uuid, values: { temperatureC } });

function twoGpus(): GpuReadings {
  const readings = new GpuReadings();
  readings.setIntervalMs(1_000, 0);
  readings.setGpus(["a", "b"], 0);
  return readings;
}

it("says nothing of a GPU before its first reading, and counts the age from the inventory", () => {
  const [first] = twoGpus().samples(2_500);
  expect(first).toMatchObject({ uuid: "a", quality: Quality.UNSPECIFIED, ageMs: 2_500 });
  expect(first?.temperatureC).toBeUndefined();
});

it("says that a GPU cannot be read when its first reading has not come in 10 s", () => {
  const quality = (readings: GpuReadings, nowMs: number) => readings.samples(nowMs)[0]?.quality;
  expect(quality(twoGpus(), 10_000)).toBe(Quality.UNSPECIFIED);
  expect(quality(twoGpus(), 10_001)).toBe(Quality.UNAVAILABLE);
  const slow = new GpuReadings();
  slow.setGpus(["a"], 0);
  slow.setIntervalMs(60_000, 0);
  expect(quality(slow, 180_000)).toBe(Quality.UNSPECIFIED);
  expect(quality(slow, 180_001)).toBe(Quality.UNAVAILABLE);
});

it("waits for a first reading from when sampling begins, however long that takes", () => {
  const readings = new GpuReadings();
  readings.setGpus(["a"], 0);
  expect(readings.samples(900_000)[0]?.quality).toBe(Quality.UNSPECIFIED);
  readings.setIntervalMs(1_000, 900_000);
  readings.setIntervalMs(500, 905_000);
  expect(readings.samples(910_000)[0]?.quality).toBe(Quality.UNSPECIFIED);
  expect(readings.samples(910_001)[0]?.quality).toBe(Quality.UNAVAILABLE);
});

it("ends a round when every GPU has come", () => {
  const readings = twoGpus();
  expect(readings.accept(reading("a"), 10)).toBe("open");
  expect(readings.accept(reading("b"), 11)).toBe("round");
  expect(readings.accept(reading("b"), 1_010)).toBe("open");
  expect(readings.accept(reading("a"), 1_011)).toBe("round");
});

it("ends a round that misses a GPU when the next round begins", () => {
  const readings = twoGpus();
  readings.accept(reading("a"), 10);
  expect(readings.accept(reading("a"), 1_010)).toBe("round");
  expect(readings.accept(reading("b"), 1_011)).toBe("round");
});

it("says so when a reading names a GPU that is not in the set, and keeps nothing of it", () => {
  const readings = twoGpus();
  expect(readings.accept(reading("c"), 10)).toBe("unknown_gpu");
  expect(readings.samples(10).map((sample) => sample.uuid)).toEqual(["a", "b"]);
});

it("is measured up to three intervals, stale with the last values after that, and then nothing", () => {
  const readings = twoGpus();
  readings.accept(reading("a", 51), 1_000);
  const at = (nowMs: number) => readings.samples(nowMs)[0];
  expect(at(4_000)).toMatchObject({ quality: Quality.MEASURED, ageMs: 3_000, temperatureC: 51 });
  expect(at(4_001)).toMatchObject({ quality: Quality.STALE, ageMs: 3_001, temperatureC: 51 });
  expect(at(29_000)).toMatchObject({ quality: Quality.STALE, ageMs: 28_000, temperatureC: 51 });
  expect(at(29_001)).toMatchObject({ quality: Quality.UNAVAILABLE, ageMs: 28_001 });
  expect(at(29_001)?.temperatureC).toBeUndefined();
});

it("has nothing of a driver that fell silent 5 s after values were stale, until it speaks", () => {
  const readings = twoGpus();
  readings.accept(reading("a"), 0);
  readings.fallenSilent();
  const at = (nowMs: number) => readings.samples(nowMs)[0]?.quality;
  expect(at(8_000)).toBe(Quality.STALE);
  expect(at(8_001)).toBe(Quality.UNAVAILABLE);
  readings.accept(reading("b"), 8_500);
  expect(at(8_500)).toBe(Quality.STALE);
});

it("lets one GPU go stale beside another that goes on", () => {
  const readings = twoGpus();
  readings.accept(reading("a"), 0);
  for (let nowMs = 0; nowMs <= 5_000; nowMs += 1_000) readings.accept(reading("b"), nowMs);
  expect(readings.oldestAgeMs(5_000)).toBe(5_000);
  expect(readings.samples(5_000).map((sample) => sample.quality)).toEqual([
    Quality.STALE,
    Quality.MEASURED,
  ]);
});

it("has no values while the driver hangs, and the age goes on", () => {
  const readings = twoGpus();
  readings.accept(reading("a", 51), 1_000);
  readings.setDriverHung(true);
  const [hung] = readings.samples(9_000);
  expect(hung).toMatchObject({ quality: Quality.UNAVAILABLE, ageMs: 8_000 });
  expect(hung?.temperatureC).toBeUndefined();
  readings.setDriverHung(false);
  readings.accept(reading("a", 52), 9_500);
  expect(readings.samples(9_500)[0]).toMatchObject({ quality: Quality.MEASURED, ageMs: 0 });
});

it("keeps the readings of GPUs that stay when the set changes", () => {
  const readings = twoGpus();
  readings.accept(reading("b", 55), 100);
  readings.setGpus(["b", "c"], 200);
  expect(readings.samples(200)).toMatchObject([
    { uuid: "b", quality: Quality.MEASURED, temperatureC: 55 },
    { uuid: "c", quality: Quality.UNSPECIFIED },
  ]);
});

it("never has a negative age or one that does not fit the wire", () => {
  const readings = twoGpus();
  readings.accept(reading("a"), 1_000);
  expect(readings.samples(500)[0]?.ageMs).toBe(0);
  expect(readings.samples(1e15)[0]?.ageMs).toBe(0xffff_ffff);
});
