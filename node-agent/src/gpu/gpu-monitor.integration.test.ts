import process from "node:process";
import { type GpuSample, Quality } from "@berth/proto";
import { systemClock } from "@berth/service-kit/base";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { collectingLogger, type LogLine } from "../testing/collecting-logger.ts";
import { type FakeSmiRun, fakeSmiRun } from "../testing/fake-smi-run.ts";
import { GPU_TIMINGS, GpuMonitor, type GpuTimings } from "./gpu-monitor.ts";
import type { GpuEvent } from "./gpu-source.ts";
import type { SmiCommand } from "./smi-process.ts";

const TIMINGS: GpuTimings = {
  ...GPU_TIMINGS,
  listDeadlineMs: 5_000,
  abandonAfterMs: 200,
  quietLimitMs: 1_000,
  restartFirstMs: 20,
  restartCapMs: 200,
  relistMs: 200,
  retryFailedMs: 100,
};
const INTERVAL_MS = 50;
const WAIT = { timeout: 10_000, interval: 20 };

let fake: FakeSmiRun;
let monitor: GpuMonitor | undefined;
let events: GpuEvent[] = [];
let lines: LogLine[] = [];

async function begin(options: { smi?: SmiCommand; timings?: GpuTimings } = {}) {
  lines = [];
  const started = new GpuMonitor({
    smi: options.smi ?? fake.smi,
    clock: systemClock,
    logger: collectingLogger(lines),
    timings: options.timings ?? TIMINGS,
  });
  monitor = started;
  events = [];
  measuredRounds = 0;
  started.subscribe((event) => {
    events.push(event);
    if (event === "samples" && started.samples().every(isMeasured)) measuredRounds += 1;
  });
  await started.start();
  await started.ready;
  return started;
}

// Rounds of readings only: the monitor also tells of samples when values grow old.
let measuredRounds = 0;
const isMeasured = (sample: GpuSample) => sample.quality === Quality.MEASURED;

const rounds = () => events.filter((event) => event === "samples").length;
const qualities = (of: GpuMonitor) => of.samples().map((sample) => sample.quality);

beforeEach(async () => {
  fake = await fakeSmiRun("h100");
});

afterEach(async () => {
  await monitor?.stop();
  monitor = undefined;
  await fake.dispose();
});

it("lists the GPUs and then samples them all from one child that outlasts the rounds", async () => {
  const gpus = await begin();
  expect(gpus.inventory().gpus).toHaveLength(8);
  expect(gpus.inventory()).toMatchObject({ error: "" });
  expect(gpus.inventory().gpus[7]).toMatchObject({ driverIndex: 7, memoryMib: 81_559n });
  expect(gpus.samples().every((sample) => sample.quality === Quality.UNAVAILABLE)).toBe(true);
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(5), WAIT);
  expect(gpus.samples()[3]).toMatchObject({ temperatureC: 37, powerLimitW: 700 });
  expect(await fake.pids()).toHaveLength(2);
});

it("leaves no child behind when it stops", async () => {
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(1), WAIT);
  expect(await fake.alive()).toHaveLength(1);
  await gpus.stop();
  expect(await fake.alive()).toEqual([]);
});

it("stops at once while the inventory query hangs", async () => {
  await fake.play("h100", "hang-list");
  monitor = new GpuMonitor({
    smi: fake.smi,
    clock: systemClock,
    logger: collectingLogger(lines),
    timings: TIMINGS,
  });
  await monitor.start();
  await vi.waitFor(async () => expect(await fake.alive()).toHaveLength(1), WAIT);
  await monitor.stop();
  await monitor.ready;
  expect(await fake.alive()).toEqual([]);
});

it("gives up an inventory query at its deadline, says why, and gets the GPUs later", async () => {
  await fake.play("h100", "hang-list");
  const gpus = await begin({ timings: { ...TIMINGS, listDeadlineMs: 400 } });
  expect(gpus.inventory()).toEqual({ gpus: [], error: "nvidia-smi did not answer in 400 ms" });
  await fake.play("h100");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(8), WAIT);
});

it("takes a machine without nvidia-smi for one without GPUs and asks no more", async () => {
  const gpus = await begin({ smi: { command: "/nonexistent/nvidia-smi" } });
  gpus.setIntervalMs(INTERVAL_MS);
  expect(gpus.inventory()).toEqual({ gpus: [], error: "" });
  expect(gpus.samples()).toEqual([]);
  expect(lines.filter((line) => line.level === "error" || line.level === "warn")).toEqual([]);
});

it("says what the driver said when it cannot list", async () => {
  await fake.play("h100", "fail-list");
  const gpus = await begin();
  expect(gpus.inventory().gpus).toEqual([]);
  expect(gpus.inventory().error).toMatch(/couldn't communicate with the NVIDIA driver/);
});

it("takes a driver without devices for no GPUs, with the reason", async () => {
  await fake.play("none");
  const gpus = await begin();
  expect(gpus.inventory()).toEqual({ gpus: [], error: "No devices were found" });
});

it("samples a T4 that has no power readings and a GPU that answers only errors", async () => {
  await fake.play("t4");
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(1), WAIT);
  const [t4] = gpus.samples();
  expect(t4).toMatchObject({ temperatureC: 34, performanceState: "P0" });
  expect(t4?.powerW).toBeUndefined();
  expect(gpus.inventory().gpus[0]?.migEnabled).toBeUndefined();
});

it("starts another child when one dies, again and again", async () => {
  await fake.play("t4", "die");
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(async () => expect((await fake.pids()).length).toBeGreaterThan(5), WAIT);
  expect(measuredRounds).toBeGreaterThan(2);
  expect((await fake.alive()).length).toBeLessThanOrEqual(1);
});

it("goes stale when the child falls silent, then replaces it", async () => {
  await fake.play("t4", "hang");
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(rounds()).toBeGreaterThanOrEqual(2), WAIT);
  await vi.waitFor(() => expect(qualities(gpus)).toEqual([Quality.STALE]), WAIT);
  const [stale] = gpus.samples();
  expect(stale?.temperatureC).toBe(34);
  expect(stale?.ageMs).toBeGreaterThan(3 * INTERVAL_MS);
  const before = rounds();
  await vi.waitFor(() => expect(rounds()).toBeGreaterThan(before), WAIT);
  await fake.play("t4");
  await vi.waitFor(() => expect(qualities(gpus)).toEqual([Quality.MEASURED]), WAIT);
});

it("survives garbled output: other GPUs go on, and noise is no reading", async () => {
  await fake.play("h100", "garble");
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(15), WAIT);
  expect(gpus.inventory()).toMatchObject({ error: "" });
  expect(gpus.inventory().gpus).toHaveLength(8);
  expect(gpus.samples()[1]).toMatchObject({ temperatureC: 35 });
});

it("tells of a GPU that fell off, and of its return, by another inventory", async () => {
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(1), WAIT);
  await fake.play("h100-7");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(7), WAIT);
  expect(gpus.samples()).toHaveLength(7);
  await fake.play("h100");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(8), WAIT);
  expect(events.filter((event) => event === "inventory").length).toBeGreaterThanOrEqual(3);
});

it("takes a new interval while it samples", async () => {
  const gpus = await begin();
  gpus.setIntervalMs(60_000);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(0), WAIT);
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(5), WAIT);
  expect(await fake.alive()).toHaveLength(1);
});

it("abandons a child that SIGKILL does not end, starts none beside it, and recovers", async () => {
  await fake.play("t4", "hang");
  let unkillable = true;
  const gpus = await begin({
    smi: {
      ...fake.smi,
      kill: (child) => {
        if (!unkillable) child.kill("SIGKILL");
      },
    },
  });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(gpus.inventory().error).toMatch(/^driver_hung/), WAIT);
  expect(gpus.inventory().gpus).toHaveLength(1);
  const [hung] = gpus.samples();
  expect(hung).toMatchObject({ quality: Quality.UNAVAILABLE });
  expect(hung?.temperatureC).toBeUndefined();
  const started = await fake.pids();
  const before = rounds();
  await vi.waitFor(() => expect(rounds()).toBeGreaterThan(before + 5), WAIT);
  expect(await fake.pids()).toEqual(started);
  unkillable = false;
  await fake.play("t4");
  for (const pid of await fake.alive()) process.kill(pid, "SIGKILL");
  await vi.waitFor(() => expect(qualities(gpus)).toEqual([Quality.MEASURED]), WAIT);
  expect(gpus.inventory().error).toBe("");
});
