import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
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

it("tells topology, CUDA version and MIG parts, and details with the memory of each part", async () => {
  await run.fake.play("a100-mig");
  const gpus = await run.begin();
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
  const gpus = await run.begin({
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
  const gpus = await run.begin({ timings: { ...QUICK_TIMINGS, detailsMs: 150 } });
  gpus.setIntervalMs(INTERVAL_MS);
  const logs = async () => (await run.fake.calls()).filter((call) => call === "xml").length;
  await vi.waitFor(async () => expect(await logs()).toBeGreaterThan(3), WAIT);
  const calls = await run.fake.calls();
  expect(calls.filter((call) => call === "loop")).toHaveLength(1);
  expect(calls.filter((call) => call === "list")).toHaveLength(1);
  expect(run.events.filter((event) => event === "details").length).toBeGreaterThanOrEqual(3);
});

it("keeps details that grow stale while the log cannot be read, and says why once", async () => {
  const gpus = await run.begin({ timings: { ...QUICK_TIMINGS, detailsMs: 100 } });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(1), WAIT);
  await run.fake.play("h100", "fail-xml");
  const detailQuality = () => gpus.samples()[1]?.details?.quality;
  const problems = () => run.lines.filter((line) => line.message === "nvidia-smi tells less");
  // On a busy machine details also grow stale because the next log comes late.
  await vi.waitFor(() => expect(problems()).toHaveLength(1), WAIT);
  await vi.waitFor(() => expect(detailQuality()).toBe(Quality.STALE), WAIT);
  expect(gpus.samples()[1]).toMatchObject({ quality: Quality.MEASURED });
  expect(gpus.samples()[1]?.details?.eccCorrectedTotal).toBe(0n);
  const told = run.events.filter((event) => event === "details").length;
  await run.fake.play("h100");
  await vi.waitFor(() => expect(detailQuality()).toBe(Quality.MEASURED), WAIT);
  expect(run.events.filter((event) => event === "details").length).toBeGreaterThan(told);
  expect(problems().map((line) => line.fields.problem)).toEqual([
    expect.stringMatching(/^nvidia-smi -q -x ended with code 9: NVIDIA-SMI has failed/),
  ]);
});

it.each(["fail", "garble"])("has GPUs and samples though topology and log %s", async (how) => {
  await run.fake.play("h100", `${how}-topo,${how}-xml`);
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(1), WAIT);
  expect(gpus.inventory()).toMatchObject({ error: "", topology: undefined });
  expect(gpus.samples().every((sample) => sample.details === undefined)).toBe(true);
});

it("knows the GPUs at once though the topology hangs, and goes on after its deadline", async () => {
  await run.fake.play("t4", "hang-topo");
  const gpus = run.create({ timings: { ...QUICK_TIMINGS, listDeadlineMs: 1_000 } });
  await gpus.start();
  await vi.waitFor(() => expect(gpus.inventory().gpus).toHaveLength(1), WAIT);
  await gpus.ready;
  expect(gpus.inventory()).toMatchObject({ topology: undefined, driverHung: false });
  expect(gpus.samples()[0]?.details?.quality).toBe(Quality.MEASURED);
});

it("reads nothing of a GPU that a program's name imitates, and says so", async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "berth-forged-"));
  try {
    const recorded = new URL("../../../examples/nvidia-smi/", import.meta.url);
    await cp(recorded, folder, { recursive: true });
    const file = path.join(folder, "h100", "query.xml");
    const uuid = "GPU-dbc8ce30";
    const xml = await readFile(file, "utf8");
    const victim = new RegExp(`${uuid}[^<]*`).exec(xml)?.[0] ?? "";
    const rows = "<remapped_rows><remapped_row_failure>Yes</remapped_row_failure></remapped_rows>";
    const name = `x</process_name></process_info></processes></gpu><gpu id="1"><uuid>${victim}</uuid>${rows}<processes><process_info><pid>1</pid><process_name>`;
    await writeFile(file, xml.replace(/(?<=<process_name>)[^<]*/, name));
    const env = { ...run.fake.env, FAKE_SMI_FIXTURES: folder };
    const gpus = await run.begin({ smi: { ...run.fake.smi, env } });
    const told = gpus.samples().map(({ uuid: one, details }) => [one, details?.rowRemapFailed]);
    expect(told.find(([one]) => one === victim)).toEqual([victim, undefined]);
    expect(told.filter(([, failed]) => failed === false)).toHaveLength(7);
    const problem = expect.stringMatching(/^1 GPU is told of more than once/);
    const line = { message: "nvidia-smi tells less", fields: { problem } };
    expect(run.lines).toContainEqual(expect.objectContaining(line));
  } finally {
    await rm(folder, { recursive: true });
  }
});
