import { expect, test } from "vitest";
import { chooseWorker, poolLimits, type WorkerView, wantsWorker } from "./pool-policy.ts";

const idle = (tenant: string | null, usedAt = 0): WorkerView => ({ tenant, state: "idle", usedAt });
const busy = (tenant: string): WorkerView => ({ tenant, state: "running", usedAt: 9 });

test("the tenant's own idle worker is preferred to the spare", () => {
  const own = idle("a");
  expect(chooseWorker([idle(null), own], "a", { maxWorkers: 4 })).toEqual({
    kind: "use",
    worker: own,
    evict: null,
  });
});

test("a busy tenant gets a second worker when there is room", () => {
  const spare = idle(null);
  const choice = chooseWorker([busy("a"), spare], "a", { maxWorkers: 2 });
  expect(choice).toEqual({ kind: "use", worker: spare, evict: null });
});

test("the idle worker that was used least recently makes room for a new tenant", () => {
  const spare = idle(null);
  const oldest = idle("b", 1);
  const workers = [idle("a", 2), oldest, spare];
  const choice = chooseWorker(workers, "c", { maxWorkers: 2 });
  expect(choice).toEqual({ kind: "use", worker: spare, evict: oldest });
});

test("another tenant's worker is never handed over, not even when nothing else is there", () => {
  expect(chooseWorker([idle("a")], "b", { maxWorkers: 4 })).toEqual({ kind: "wait" });
  expect(chooseWorker([busy("a"), idle(null)], "b", { maxWorkers: 1 })).toEqual({ kind: "wait" });
});

test("one tenant may take all but one of the running evaluations, and at least one", () => {
  expect(poolLimits({ maxRunning: 4 })).toMatchObject({ maxRunning: 4, maxPerTenant: 3 });
  expect(poolLimits({ maxRunning: 1 })).toMatchObject({ maxRunning: 1, maxPerTenant: 1 });
  expect(poolLimits({})).toMatchObject({ maxQueued: 1_000, maxQueuedBytes: 64 * 1024 * 1024 });
  expect(poolLimits({}).maxRunning).toBeGreaterThanOrEqual(2);
});

test("slow evaluations have places on top, as far as workers are left for the quick", () => {
  expect(poolLimits({ maxWorkers: 1 })).toMatchObject({ maxSlow: 0, maxLate: 0 });
  expect(poolLimits({ maxWorkers: 2, maxRunning: 2 })).toMatchObject({ maxSlow: 1 });
  expect(poolLimits({ maxWorkers: 4, maxRunning: 64 })).toMatchObject({ maxSlow: 3 });
  const { maxWorkers, maxSlow, maxLate } = poolLimits({});
  expect(maxSlow).toBeLessThanOrEqual(maxLate);
  expect(maxLate).toBeLessThan(maxWorkers);
});

test("there is a spare, and one for each tenant that waits, as far as there is room", () => {
  const limits = { maxWorkers: 2, maxRunning: 2 };
  const needs = { waiting: 0, starting: 0 };
  expect(wantsWorker([], needs, limits)).toBe(true);
  expect(wantsWorker([idle(null)], needs, limits)).toBe(false);
  expect(wantsWorker([], { waiting: 0, starting: 1 }, limits)).toBe(false);
  expect(wantsWorker([idle(null)], { waiting: 2, starting: 0 }, limits)).toBe(true);
  expect(wantsWorker([idle(null), idle(null)], { waiting: 9, starting: 0 }, limits)).toBe(false);
  expect(wantsWorker([busy("a"), busy("b")], needs, limits)).toBe(true);
  expect(wantsWorker([busy("a"), busy("b"), busy("c")], needs, limits)).toBe(false);
  const stopping: WorkerView = { tenant: "a", state: "stopping", usedAt: 1 };
  expect(wantsWorker([busy("a"), busy("b"), stopping], needs, limits)).toBe(true);
});
