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

it("lists the GPUs and then samples them all from one child that outlasts the rounds", async () => {
  const gpus = await run.begin();
  expect(gpus.inventory().gpus).toHaveLength(8);
  expect(gpus.inventory()).toMatchObject({ error: "" });
  expect(gpus.inventory().gpus[7]).toMatchObject({ driverIndex: 7, memoryMib: 81_559n });
  expect(gpus.samples().every((sample) => sample.quality === Quality.UNSPECIFIED)).toBe(true);
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(5), WAIT);
  expect(gpus.samples()[3]).toMatchObject({ temperatureC: 37, powerLimitW: 700 });
  expect(await run.fake.calls()).toEqual(["list", "topo", "xml", "loop"]);
});

it("leaves no child behind when it stops", async () => {
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(1), WAIT);
  expect(await run.fake.alive()).toHaveLength(1);
  await gpus.stop();
  expect(await run.fake.alive()).toEqual([]);
});

it("stops at once while the inventory query hangs", async () => {
  await run.fake.play("h100", "hang-list");
  const monitor = run.create();
  await monitor.start();
  await vi.waitFor(async () => expect(await run.fake.alive()).toHaveLength(1), WAIT);
  await monitor.stop();
  await monitor.ready;
  expect(await run.fake.alive()).toEqual([]);
});

it("gives up an inventory query at its deadline, says why, and gets the GPUs later", async () => {
  await run.fake.play("h100", "hang-list");
  const gpus = await run.begin({ timings: { ...QUICK_TIMINGS, listDeadlineMs: 400 } });
  expect(gpus.inventory()).toMatchObject({
    gpus: [],
    error: "nvidia-smi did not answer in 400 ms",
    driverHung: false,
  });
  await run.fake.play("h100");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(8), WAIT);
});

it("takes a machine without nvidia-smi for one without GPUs and asks no more", async () => {
  const gpus = await run.begin({ smi: { command: "/nonexistent/nvidia-smi" } });
  gpus.setIntervalMs(INTERVAL_MS);
  expect(gpus.inventory()).toMatchObject({ gpus: [], error: "", topology: undefined });
  expect(gpus.samples()).toEqual([]);
  expect(run.lines.filter((line) => line.level === "error" || line.level === "warn")).toEqual([]);
});

it("says what the driver said when it cannot list", async () => {
  await run.fake.play("h100", "fail-list");
  const gpus = await run.begin();
  expect(gpus.inventory().gpus).toEqual([]);
  expect(gpus.inventory().error).toMatch(/couldn't communicate with the NVIDIA driver/);
});

it("takes a driver without devices for no GPUs, with the reason", async () => {
  await run.fake.play("none");
  const gpus = await run.begin();
  expect(gpus.inventory()).toMatchObject({ gpus: [], error: "No devices were found" });
});

it("samples a T4 that has no power readings and a GPU that answers only errors", async () => {
  await run.fake.play("t4");
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(1), WAIT);
  const [t4] = gpus.samples();
  expect(t4).toMatchObject({ temperatureC: 34, performanceState: "P0" });
  expect(t4?.powerW).toBeUndefined();
  expect(gpus.inventory().gpus[0]?.migEnabled).toBeUndefined();
});

it("takes a new interval while it samples", async () => {
  const gpus = await run.begin();
  gpus.setIntervalMs(60_000);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(0), WAIT);
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(5), WAIT);
  expect(await run.fake.alive()).toHaveLength(1);
});

it("starts no other field than the driver knows: throttle reasons of an older driver", async () => {
  await run.fake.play("a100-mig");
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(1), WAIT);
  expect(gpus.samples()[0]).toMatchObject({ throttleReasons: ["gpu_idle"], powerW: 52.18 });
  expect(await run.fake.calls()).toEqual(["list", "uuids", "topo", "xml", "loop", "loop"]);
});
