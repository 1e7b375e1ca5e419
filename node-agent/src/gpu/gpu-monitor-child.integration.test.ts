import process from "node:process";
import { Quality } from "@berth/proto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { GpuMonitorRun, QUICK_TIMINGS, qualitiesOf } from "../testing/gpu-monitor-run.ts";

const INTERVAL_MS = 50;
const WAIT = { timeout: 10_000, interval: 20 };

let run: GpuMonitorRun;

beforeEach(async () => {
  run = await GpuMonitorRun.prepare("h100");
});

afterEach(async () => {
  await run.dispose();
});

it("starts another child when one dies, again and again", async () => {
  await run.fake.play("t4", "die");
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(async () => expect((await run.fake.pids()).length).toBeGreaterThan(9), WAIT);
  expect(run.measuredRounds).toBeGreaterThan(2);
  expect((await run.fake.alive()).length).toBeLessThanOrEqual(1);
});

it("goes stale when the child falls silent, then replaces it", async () => {
  await run.fake.play("t4", "hang");
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.rounds).toBeGreaterThanOrEqual(2), WAIT);
  await vi.waitFor(() => expect(qualitiesOf(gpus)).toEqual([Quality.STALE]), WAIT);
  const [stale] = gpus.samples();
  expect(stale?.temperatureC).toBe(34);
  expect(stale?.ageMs).toBeGreaterThan(3 * INTERVAL_MS);
  const before = run.rounds;
  await vi.waitFor(() => expect(run.rounds).toBeGreaterThan(before), WAIT);
  await run.fake.play("t4");
  await vi.waitFor(() => expect(qualitiesOf(gpus)).toEqual([Quality.MEASURED]), WAIT);
});

it("survives garbled output: other GPUs go on, and noise is no reading", async () => {
  await run.fake.play("h100", "garble");
  const gpus = await run.begin();
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(15), WAIT);
  expect(gpus.inventory()).toMatchObject({ error: "" });
  expect(gpus.inventory().gpus).toHaveLength(8);
  expect(gpus.samples()[1]).toMatchObject({ temperatureC: 35 });
});

it("samples less often while the child is dear, and as wanted when it is cheap again", async () => {
  await run.fake.play("t4", "busy");
  const gpus = await run.begin({ timings: { ...QUICK_TIMINGS, costWindowMs: 400 } });
  gpus.setIntervalMs(100);
  const said = (start: string) => run.lines.filter((line) => line.message.startsWith(start));
  await vi.waitFor(() => expect(said("nvidia-smi is dear").length).toBeGreaterThan(1), WAIT);
  const [first, second] = said("nvidia-smi is dear");
  expect(first?.fields).toMatchObject({ factor: 2, corePercent: expect.any(Number) });
  expect(first?.fields.corePercent).toBeGreaterThan(3);
  expect(second?.fields).toMatchObject({ factor: 4 });
  await run.fake.play("t4");
  await vi.waitFor(() => expect(said("nvidia-smi is cheap").length).toBeGreaterThan(0), WAIT);
  expect(qualitiesOf(gpus)).toEqual([Quality.MEASURED]);
});

it("abandons a child that SIGKILL does not end, starts none beside it, and recovers", async () => {
  await run.fake.play("t4", "hang");
  let unkillable = true;
  const gpus = await run.begin({
    smi: {
      ...run.fake.smi,
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
  const started = await run.fake.pids();
  const before = run.rounds;
  await vi.waitFor(() => expect(run.rounds).toBeGreaterThan(before + 5), WAIT);
  expect(await run.fake.pids()).toEqual(started);
  unkillable = false;
  await run.fake.play("t4");
  for (const pid of await run.fake.alive()) process.kill(pid, "SIGKILL");
  await vi.waitFor(() => expect(qualitiesOf(gpus)).toEqual([Quality.MEASURED]), WAIT);
  expect(gpus.inventory().error).toBe("");
});

it("goes on with the readings of a child that lives while a log query cannot be killed", async () => {
  const stuck = new Set<number>();
  let kills = 0;
  const gpus = await run.begin({
    timings: { ...QUICK_TIMINGS, detailsMs: 150, listDeadlineMs: 700 },
    smi: {
      ...run.fake.smi,
      kill: (child) => {
        kills += 1;
        if (child.pid !== undefined) stuck.add(child.pid);
      },
    },
  });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(1), WAIT);
  await run.fake.play("h100", "hang-xml");
  await vi.waitFor(() => expect(gpus.inventory().driverHung).toBe(true), WAIT);
  expect(gpus.inventory().error).toMatch(/^driver_hung/);
  const started = await run.fake.calls();
  const before = run.measuredRounds;
  gpus.setIntervalMs(2 * INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(before + 10), WAIT);
  expect(await run.fake.calls()).toEqual(started);
  expect(kills).toBe(1);
  await run.fake.play("h100");
  for (const pid of stuck) process.kill(pid, "SIGKILL");
  await vi.waitFor(() => expect(gpus.inventory()).toMatchObject({ error: "" }), WAIT);
  const logs = (calls: readonly string[]) => calls.filter((call) => call === "xml").length;
  await vi.waitFor(
    async () => expect(logs(await run.fake.calls())).toBeGreaterThan(logs(started)),
    WAIT,
  );
  for (const pid of await run.fake.alive()) process.kill(pid, "SIGKILL");
});

it("ends a silent child after three intervals, and counts the driver as hung when it stays", async () => {
  await run.fake.play("t4", "hang");
  const gpus = await run.begin({
    timings: { ...QUICK_TIMINGS, quietLimitMs: 100 },
    smi: { ...run.fake.smi, kill: () => undefined },
  });
  gpus.setIntervalMs(1_000);
  const heardMs = () => gpus.samples()[0]?.ageMs ?? 0;
  await vi.waitFor(() => expect(qualitiesOf(gpus)).toEqual([Quality.STALE]), WAIT);
  expect(gpus.inventory().driverHung).toBe(false);
  await vi.waitFor(() => expect(gpus.inventory().driverHung).toBe(true), WAIT);
  expect(qualitiesOf(gpus)).toEqual([Quality.UNAVAILABLE]);
  // Ten intervals, which a child was given once, would not have passed by now.
  expect(heardMs()).toBeLessThan(7_000);
});

it("has no values of a driver that answers nothing any more, though its children can be killed", async () => {
  await run.fake.play("t4", "hang");
  const gpus = await run.begin({ timings: { ...QUICK_TIMINGS, listDeadlineMs: 20_000 } });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(0), WAIT);
  await run.fake.play("t4", "hang,hang-list");
  await vi.waitFor(() => expect(qualitiesOf(gpus)).toEqual([Quality.UNAVAILABLE]), WAIT);
  expect(gpus.inventory()).toMatchObject({ driverHung: false, error: "" });
});

it("gives a child that has not printed yet more time than one that has", async () => {
  await run.fake.play("t4", "slow");
  const gpus = await run.begin({ timings: { ...QUICK_TIMINGS, quietLimitMs: 100 } });
  gpus.setIntervalMs(INTERVAL_MS);
  await vi.waitFor(() => expect(run.measuredRounds).toBeGreaterThan(2), WAIT);
  expect((await run.fake.calls()).filter((call) => call === "loop")).toHaveLength(1);
});
