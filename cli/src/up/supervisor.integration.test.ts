import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  FAILING,
  FAILING_LATER,
  FakePrograms,
  isAlive,
  OBEDIENT,
  STUBBORN,
  WITH_WORKER,
  waitFor,
} from "../testing/fake-programs.ts";
import type { ProgramSpec } from "./child.ts";
import { RESTART_LIMITS } from "./restart-policy.ts";
import { Supervisor } from "./supervisor.ts";

const FAST = { ...RESTART_LIMITS, firstDelayMs: 20, capMs: 20 };

describe("Supervisor", () => {
  let fakes: FakePrograms;
  let supervisor: Supervisor;
  let told: string[];

  beforeEach(() => {
    fakes = new FakePrograms();
    told = [];
  });

  afterEach(async () => {
    await supervisor.stop();
    fakes.remove();
  });

  function begin(sources: Record<string, string>, stopLimitMs?: number): void {
    const programs = Object.entries(sources).map(([name, source]): ProgramSpec => {
      mkdirSync(join(fakes.dir, name));
      const env = { BERTH_DATA_DIR: join(fakes.dir, name) };
      return { name, file: fakes.write(name, source), env, announcesStart: true };
    });
    supervisor = new Supervisor({
      programs,
      control: { execPath: process.execPath, kill: (pid, signal) => process.kill(pid, signal) },
      listener: {
        onLine: (program, stream, line) => told.push(`${program} ${stream} ${line}`),
        onRestart: (program, how) => told.push(`${program} ${how}`),
        onBack: (program) => told.push(`${program} is back`),
      },
      restartLimits: FAST,
      ...(stopLimitMs === undefined ? {} : { stopLimitMs }),
    });
    supervisor.start();
  }

  async function runningPid(program: string): Promise<number> {
    await waitFor(`${program} to be up`, () => !supervisor.notUp().includes(program));
    return supervisor.pids().get(program) ?? 0;
  }

  it("starts a program again that was killed, and tells when it is back", async () => {
    begin({ one: OBEDIENT, two: OBEDIENT });
    const first = await runningPid("one");
    const untouched = await runningPid("two");
    process.kill(first, "SIGKILL");
    await waitFor("the program to be back", () => told.includes("one is back"));
    expect(told).toContain("one exited with SIGKILL");
    expect(await runningPid("one")).not.toBe(first);
    expect(await runningPid("two")).toBe(untouched);
  });

  it("gives up at once on a program whose first start fails, with its last words", async () => {
    begin({ one: FAILING });
    const why = await supervisor.gaveUp;
    expect(why).toEqual({
      program: "one",
      failures: 1,
      how: "exited with code 1",
      lastError: "fake: port 8000 is taken",
    });
    expect(told).toEqual(["one stderr fake: port 8000 is taken"]);
  });

  it("gives up on a program that was up and then fails three times in a row", async () => {
    begin({ one: FAILING_LATER });
    process.kill(await runningPid("one"), "SIGKILL");
    expect(await supervisor.gaveUp).toEqual({
      program: "one",
      failures: 3,
      how: "exited with code 1",
      lastError: "fake: port 8000 is taken",
    });
    expect(told.filter((line) => line.startsWith("one exited"))).toEqual([
      "one exited with SIGKILL",
      "one exited with code 1",
      "one exited with code 1",
    ]);
  });

  it("gives up when a program cannot be run at all", async () => {
    supervisor = new Supervisor({
      programs: [{ name: "one", file: "any.mjs", env: {}, announcesStart: true }],
      control: { execPath: join(fakes.dir, "no-node"), kill: () => undefined },
      listener: { onLine: () => undefined, onRestart: () => undefined, onBack: () => undefined },
      restartLimits: FAST,
    });
    supervisor.start();
    expect((await supervisor.gaveUp).how).toMatch(/^could not be run: .*ENOENT/);
  });

  it("kills what a killed program leaves in its process group", async () => {
    begin({ one: WITH_WORKER });
    const pid = await runningPid("one");
    const worker = await fakes.number("one", "worker-pid");
    expect(isAlive(worker)).toBe(true);
    process.kill(pid, "SIGKILL");
    await waitFor("the worker to be gone", () => !isAlive(worker));
  });

  it("stops every program, and gives none of them another life", async () => {
    begin({ one: OBEDIENT, two: WITH_WORKER });
    const pids = [await runningPid("one"), await runningPid("two")];
    pids.push(await fakes.number("two", "worker-pid"));
    await supervisor.stop();
    expect(pids.map(isAlive)).toEqual([false, false, false]);
    expect(supervisor.pids().size).toBe(0);
    expect(told.filter((line) => line.includes("exited"))).toEqual([]);
  });

  it("kills a program that does not stop in time", async () => {
    begin({ one: STUBBORN }, 200);
    const pid = await runningPid("one");
    await supervisor.stop();
    expect(isAlive(pid)).toBe(false);
  });

  it("stops once however often it is asked", async () => {
    begin({ one: OBEDIENT });
    await runningPid("one");
    const first = supervisor.stop();
    expect(supervisor.stop()).toBe(first);
    await first;
  });

  it("does not start a program again when stopped while it waits for its restart", async () => {
    begin({ one: FAILING_LATER });
    process.kill(await runningPid("one"), "SIGKILL");
    await waitFor("the first failure", () => told.includes("one exited with code 1"));
    await supervisor.stop();
    const before = told.length;
    const last = await Promise.race([
      supervisor.gaveUp,
      new Promise((resolve) => setTimeout(resolve, 100, "nothing")),
    ]);
    expect(last).toBe("nothing");
    expect(told).toHaveLength(before);
  });
});
