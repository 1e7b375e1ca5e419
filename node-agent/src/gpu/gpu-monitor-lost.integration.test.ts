import { Quality } from "@berth/proto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { GpuMonitorRun, QUICK_TIMINGS } from "../testing/gpu-monitor-run.ts";

const INTERVAL_MS = 50;
const WAIT = { timeout: 10_000, interval: 20 };

let run: GpuMonitorRun;

beforeEach(async () => {
  run = await GpuMonitorRun.prepare("h100");
});

afterEach(async () => {
  await run.dispose();
});

it("tells of a GPU that fell off, and of its return, by another inventory", async () => {
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(1), WAIT);
  await run.fake.play("h100-7");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(7), WAIT);
  expect(gpus.samples()).toHaveLength(7);
  await run.fake.play("h100");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(8), WAIT);
  expect(run.events.filter((event) => event === "inventory").length).toBeGreaterThanOrEqual(3);
});

it("tells of a lost GPU and of warnings in the driver's own words", async () => {
  await run.fake.play("failing");
  const gpus = await run.begin();
  const lost = "Unable to determine the device handle for GPU3: 0000:61:00.0: Unknown Error";
  const warning = "WARNING: infoROM is corrupted at gpu 0000:43:00.0";
  expect(gpus.inventory()).toMatchObject({ error: lost, remarks: [lost, warning] });
  expect(gpus.inventory().gpus.map((one) => one.driverIndex)).toEqual([0, 1, 2, 4]);
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(15), WAIT);
  const [, ecc, hot, mute] = gpus.samples();
  expect(ecc).toMatchObject({
    eccUncorrectedTotal: 3n,
    details: { eccCorrectedTotal: 118n, rowRemapPending: true, rowRemapFailed: true },
  });
  expect(hot?.throttleReasons).toContain("hw_thermal_slowdown");
  expect(mute).toMatchObject({ quality: Quality.MEASURED });
  expect(mute?.temperatureC).toBeUndefined();
  // It says so in every round; that is no news, and no reason to ask again.
  expect((await run.fake.calls()).filter((call) => call === "loop")).toHaveLength(1);
});

it("notices in the next round that a GPU falls off the bus", async () => {
  const gpus = await run.begin({ timings: { ...QUICK_TIMINGS, relistMs: 0 } });
  gpus.setIntervalMs(1_000);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(0), WAIT);
  await run.fake.play("h100", "lost:3");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(7), WAIT);
  expect(gpus.inventory().error).toMatch(/^Unable to determine the device handle for GPU3/);
  await vi.waitFor(() => expect(gpus.inventory().topology?.rows).toHaveLength(7), WAIT);
});

it("notices at once that another GPU falls off right after the first", async () => {
  const gpus = await run.begin({
    timings: { ...QUICK_TIMINGS, relistMs: 60_000, relistLostMs: 0 },
  });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(0), WAIT);
  await run.fake.play("h100", "lost:3");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(7), WAIT);
  await run.fake.play("h100", "lost:3,lost:5");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(6), WAIT);
  expect(gpus.inventory().remarks).toHaveLength(2);
});
