import process from "node:process";
import { type GpuSample, Quality } from "@berth/proto";
import { systemClock } from "@berth/service-kit/base";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { collectingLogger, type LogLine } from "../testing/collecting-logger.ts";
import { type FakeSmiRun, fakeSmiRun } from "../testing/fake-smi-run.ts";
import { GpuMonitor } from "./gpu-monitor.ts";
import type { GpuEvent, InstanceOf } from "./gpu-source.ts";
import { GPU_TIMINGS, type GpuTimings } from "./gpu-timings.ts";
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

interface Beginning {
  smi?: SmiCommand;
  timings?: GpuTimings;
  instanceOf?: InstanceOf;
}

async function begin(options: Beginning = {}) {
  lines = [];
  const started = new GpuMonitor({
    smi: options.smi ?? fake.smi,
    clock: systemClock,
    logger: collectingLogger(lines),
    timings: options.timings ?? TIMINGS,
    ...(options.instanceOf === undefined ? {} : { instanceOf: options.instanceOf }),
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
  expect(await fake.calls()).toEqual(["list", "topo", "xml", "loop"]);
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
  expect(gpus.inventory()).toMatchObject({
    gpus: [],
    error: "nvidia-smi did not answer in 400 ms",
    driverHung: false,
  });
  await fake.play("h100");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(8), WAIT);
});

it("takes a machine without nvidia-smi for one without GPUs and asks no more", async () => {
  const gpus = await begin({ smi: { command: "/nonexistent/nvidia-smi" } });
  gpus.setIntervalMs(INTERVAL_MS);
  expect(gpus.inventory()).toMatchObject({ gpus: [], error: "", topology: undefined });
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
  expect(gpus.inventory()).toMatchObject({ gpus: [], error: "No devices were found" });
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
  await vi.waitFor(async () => expect((await fake.pids()).length).toBeGreaterThan(9), WAIT);
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

it("starts no other field than the driver knows: throttle reasons of an older driver", async () => {
  await fake.play("a100-mig");
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(1), WAIT);
  expect(gpus.samples()[0]).toMatchObject({ throttleReasons: ["gpu_idle"], powerW: 52.18 });
  expect(await fake.calls()).toEqual(["list", "uuids", "topo", "xml", "loop", "loop"]);
});

it("tells topology, CUDA version and MIG parts, and details with the memory of each part", async () => {
  await fake.play("a100-mig");
  const gpus = await begin();
  const { gpus: infos, topology } = gpus.inventory();
  expect(infos[1]).toMatchObject({ cudaVersion: "12.0", minorNumber: 1, migEnabled: true });
  expect(infos.map((one) => one.migDevices.length)).toEqual([2, 4, 7, 0]);
  expect(topology?.rows[0]?.links).toEqual(["X", "NV4", "NV4", "NV4", "PXB", "SYS"]);
  const details = gpus.samples()[1]?.details;
  expect(details).toMatchObject({ quality: Quality.MEASURED, rowRemapPending: false });
  expect(details?.migDevices[1]).toMatchObject({
    uuid: infos[1]?.migDevices[1]?.uuid,
    memoryUsedMib: 6_144n,
    memoryFreeMib: 3_840n,
  });
  expect(details?.processes.map((process) => process.pid)).toEqual([51_002, 51_003]);
});

it("names the instance of each process, and asks for each process once a log", async () => {
  const asked: number[] = [];
  const gpus = await begin({
    instanceOf: async (pid) => {
      asked.push(pid);
      return pid === 40_002 ? "instance-2" : "";
    },
  });
  const processes = gpus.samples().flatMap((sample) => sample.details?.processes ?? []);
  expect(processes.map((process) => process.instanceId).filter(Boolean)).toEqual(["instance-2"]);
  expect(asked).toHaveLength(new Set(asked).size);
});

it("reads the details again and again beside the one sampling child", async () => {
  const gpus = await begin({ timings: { ...TIMINGS, detailsMs: 150 } });
  gpus.setIntervalMs(INTERVAL_MS);
  const logs = async () => (await fake.calls()).filter((call) => call === "xml").length;
  await vi.waitFor(async () => expect(await logs()).toBeGreaterThan(3), WAIT);
  const calls = await fake.calls();
  expect(calls.filter((call) => call === "loop")).toHaveLength(1);
  expect(calls.filter((call) => call === "list")).toHaveLength(1);
  expect(events.filter((event) => event === "details").length).toBeGreaterThanOrEqual(3);
});

it("keeps details that grow stale while the log cannot be read, and says why once", async () => {
  const gpus = await begin({ timings: { ...TIMINGS, detailsMs: 100 } });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(1), WAIT);
  await fake.play("h100", "fail-xml");
  const detailQuality = () => gpus.samples()[1]?.details?.quality;
  const problems = () => lines.filter((line) => line.message === "nvidia-smi tells less");
  // On a busy machine details also grow stale because the next log comes late.
  await vi.waitFor(() => expect(problems()).toHaveLength(1), WAIT);
  await vi.waitFor(() => expect(detailQuality()).toBe(Quality.STALE), WAIT);
  expect(gpus.samples()[1]).toMatchObject({ quality: Quality.MEASURED });
  expect(gpus.samples()[1]?.details?.eccCorrectedTotal).toBe(0n);
  const told = events.filter((event) => event === "details").length;
  await fake.play("h100");
  await vi.waitFor(() => expect(detailQuality()).toBe(Quality.MEASURED), WAIT);
  expect(events.filter((event) => event === "details").length).toBeGreaterThan(told);
  expect(problems().map((line) => line.fields.problem)).toEqual([
    expect.stringMatching(/^nvidia-smi -q -x ended with code 9: NVIDIA-SMI has failed/),
  ]);
});

it.each(["fail", "garble"])("has GPUs and samples though topology and log %s", async (how) => {
  await fake.play("h100", `${how}-topo,${how}-xml`);
  const gpus = await begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(1), WAIT);
  expect(gpus.inventory()).toMatchObject({ error: "", topology: undefined });
  expect(gpus.samples().every((sample) => sample.details === undefined)).toBe(true);
});

it("knows the GPUs at once though the topology hangs, and goes on after its deadline", async () => {
  await fake.play("t4", "hang-topo");
  const gpus = new GpuMonitor({
    smi: fake.smi,
    clock: systemClock,
    logger: collectingLogger(lines),
    timings: { ...TIMINGS, listDeadlineMs: 1_000 },
  });
  monitor = gpus;
  await gpus.start();
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(1), WAIT);
  await gpus.ready;
  expect(gpus.inventory()).toMatchObject({ topology: undefined, driverHung: false });
  expect(gpus.samples()[0]?.details?.quality).toBe(Quality.MEASURED);
});

it("tells of a lost GPU and of warnings in the driver's own words", async () => {
  await fake.play("failing");
  const gpus = await begin();
  const lost = "Unable to determine the device handle for GPU3: 0000:61:00.0: Unknown Error";
  const warning = "WARNING: infoROM is corrupted at gpu 0000:43:00.0";
  expect(gpus.inventory()).toMatchObject({ error: lost, remarks: [lost, warning] });
  expect(gpus.inventory().gpus.map((one) => one.driverIndex)).toEqual([0, 1, 2, 4]);
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(15), WAIT);
  const [, ecc, hot, mute] = gpus.samples();
  expect(ecc).toMatchObject({
    eccUncorrectedTotal: 3n,
    details: { eccCorrectedTotal: 118n, rowRemapPending: true, rowRemapFailed: true },
  });
  expect(hot?.throttleReasons).toContain("hw_thermal_slowdown");
  expect(mute).toMatchObject({ quality: Quality.MEASURED });
  expect(mute?.temperatureC).toBeUndefined();
  // It says so in every round; that is no news, and no reason to ask again.
  expect((await fake.calls()).filter((call) => call === "loop")).toHaveLength(1);
});

it("notices in the next round that a GPU falls off the bus", async () => {
  const gpus = await begin({ timings: { ...TIMINGS, relistMs: 0 } });
  gpus.setIntervalMs(1_000);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(0), WAIT);
  await fake.play("h100", "lost:3");
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(7), WAIT);
  expect(gpus.inventory().error).toMatch(/^Unable to determine the device handle for GPU3/);
  await vi.waitFor(() => expect(gpus.inventory().topology?.rows).toHaveLength(7), WAIT);
});

it("samples less often while the child is dear, and as wanted when it is cheap again", async () => {
  await fake.play("t4", "busy");
  const gpus = await begin({ timings: { ...TIMINGS, costWindowMs: 400 } });
  gpus.setIntervalMs(100);
  const said = (start: string) => lines.filter((line) => line.message.startsWith(start));
  await vi.waitFor(() => expect(said("nvidia-smi is dear").length).toBeGreaterThan(1), WAIT);
  const [first, second] = said("nvidia-smi is dear");
  expect(first?.fields).toMatchObject({ factor: 2, corePercent: expect.any(Number) });
  expect(first?.fields.corePercent).toBeGreaterThan(3);
  expect(second?.fields).toMatchObject({ factor: 4 });
  await fake.play("t4");
  await vi.waitFor(() => expect(said("nvidia-smi is cheap").length).toBeGreaterThan(0), WAIT);
  expect(qualities(gpus)).toEqual([Quality.MEASURED]);
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

it("goes on with the readings of a child that lives while a log query cannot be killed", async () => {
  const stuck = new Set<number>();
  let kills = 0;
  const gpus = await begin({
    timings: { ...TIMINGS, detailsMs: 150, listDeadlineMs: 700 },
    smi: {
      ...fake.smi,
      kill: (child) => {
        kills += 1;
        if (child.pid !== undefined) stuck.add(child.pid);
      },
    },
  });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(1), WAIT);
  await fake.play("h100", "hang-xml");
  await vi.waitFor(() => expect(gpus.inventory().driverHung).toBe(true), WAIT);
  expect(gpus.inventory().error).toMatch(/^driver_hung/);
  const started = await fake.calls();
  const before = measuredRounds;
  gpus.setIntervalMs(2 * INTERVAL_MS);
  await vi.waitFor(() => expect(measuredRounds).toBeGreaterThan(before + 10), WAIT);
  expect(await fake.calls()).toEqual(started);
  expect(kills).toBe(1);
  await fake.play("h100");
  for (const pid of stuck) process.kill(pid, "SIGKILL");
  await vi.waitFor(() => expect(gpus.inventory()).toMatchObject({ error: "" }), WAIT);
  const logs = (calls: readonly string[]) => calls.filter((call) => call === "xml").length;
  await vi.waitFor(
    async () => expect(logs(await fake.calls())).toBeGreaterThan(logs(started)),
    WAIT,
  );
  for (const pid of await fake.alive()) process.kill(pid, "SIGKILL");
});
