import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { endProcesses } from "./end-processes.ts";
import type { ProcessEntry } from "./kinship.ts";
import { parseStat } from "./proc-text.ts";

const KIN = { runtimeId: "r", instance: "b/i", known: [] };
const never = new AbortController().signal;

let child: ChildProcess;
let signals: [number, string][];

beforeEach(() => {
  child = spawn("sleep", ["1000"], { detached: true, stdio: "ignore" });
  signals = [];
});

afterEach(async () => {
  child.kill("SIGKILL");
  await once(child, "exit");
});

/** The child as a look finds it, ours by its marks. */
function found(more: Partial<ProcessEntry> = {}): ProcessEntry {
  const stat = parseStat(readFileSync(`/proc/${child.pid}/stat`, "latin1"));
  if (stat === undefined) throw new Error("the child is not there");
  return { ...stat, marks: { runtimeId: "r", instance: "b/i", startId: "s" }, ...more };
}

/** Ends what the looks find, one after the other; no signal goes out. */
async function end(looks: readonly ProcessEntry[][], graceMs: number): Promise<void> {
  const left = [...looks];
  await endProcesses({
    own: {
      pid: process.pid,
      env: {},
      kill: (pid, signal) => signals.push([pid, signal]),
    },
    table: { scan: async () => left.shift() ?? [] },
    kin: KIN,
    graceMs,
    signal: never,
  });
}

it("signals the group of a leader once, and kills after the grace", async () => {
  await end([[found()], [found()]], 60_000);
  expect(signals).toEqual([[-(child.pid ?? 0), "SIGTERM"]]);
  signals = [];
  await end([[found()]], 0);
  expect(signals).toEqual([[-(child.pid ?? 0), "SIGKILL"]]);
});

it("signals no process that got the number after the look", async () => {
  const { startTicks } = found();
  await end([[found({ startTicks: startTicks - 1 })]], 0);
  expect(signals).toEqual([]);
});

it("signals one alone that leads no group", async () => {
  await end([[found({ groupId: 1 })]], 0);
  expect(signals).toEqual([[child.pid, "SIGKILL"]]);
});

it("rejects with the reason of the signal while something still runs", async () => {
  const enough = AbortSignal.timeout(50);
  const table = { scan: async () => [found()] };
  const own = { pid: process.pid, env: {}, kill: () => true };
  await expect(
    endProcesses({ own, table, kin: KIN, graceMs: 0, signal: enough }),
  ).rejects.toMatchObject({ name: "TimeoutError" });
});
