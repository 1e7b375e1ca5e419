import { spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { berth, startFleet } from "../support/fleet.ts";
import { rssMiB } from "../support/process-stats.ts";
import { nodeAgentFootprint } from "./node-agent-footprint.ts";
import { type BenchOptions, compared, type Emit, median } from "./report.ts";

const SAMPLE_INTERVAL_MS = 1_000;
const PROGRAMS = ["control-plane", "cluster-agent", "node-agent"] as const;

/**
 * Resident memory of each program of an idle fleet of this machine after its first allocation, without
 * policy workers, and of one worker. Baseline: a Node process that does nothing. Then a node-agent alone
 * under its real stream.
 */
export async function footprintBench(emit: Emit, options: BenchOptions): Promise<void> {
  const [settleMs, samples] = options.quick ? [500, 1] : [5_000, 5];
  const idle = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)"], { stdio: "ignore" });
  const fleet = await startFleet();
  await berth(fleet, "policy", "publish", "examples/policies/least-loaded");
  await berth(fleet, "allocate", "--policy", "least-loaded:1.0.0-stable");
  await delay(settleMs);
  const watched = new Map<string, number>(PROGRAMS.map((name) => [name, fleet.pidOf(name)]));
  const known = new Set([...watched.values(), fleet.process.pid]);
  const worker = fleet.pids().find((pid) => !known.has(pid));
  if (worker !== undefined) watched.set("policy worker", worker);
  watched.set("supervisor", fleet.process.pid ?? 0);
  const readings = new Map<string, number[]>();
  for (let sample = 0; sample < samples; sample += 1) {
    for (const [name, pid] of [...watched, ["idle node", idle.pid ?? 0] as const]) {
      readings.set(name, [...(readings.get(name) ?? []), rssMiB(pid)]);
    }
    await delay(SAMPLE_INTERVAL_MS);
  }
  const baseline = { name: "idle node", value: median(readings.get("idle node") ?? []) };
  for (const name of watched.keys()) {
    const value = median(readings.get(name) ?? []);
    emit(compared({ figure: `rss of ${name}`, value, unit: "MiB", runs: samples }, baseline));
  }
  idle.kill();
  await fleet.stop();
  await nodeAgentFootprint(emit, options);
}
