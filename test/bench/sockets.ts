import path from "node:path";
import { startControlPlane } from "../support/control-plane-process.ts";
import { until } from "../support/fleet.ts";
import type { IdleSocketsOptions, IdleSocketsStatus } from "../support/idle-sockets-main.ts";
import { startJsonLineProcess } from "../support/json-line-process.ts";
import { rssMiB } from "../support/process-stats.ts";
import { closedLoop, type LoadResult, medianResult, type Target } from "./load.ts";
import { NOTHING } from "./policies.ts";
import { type BenchOptions, compared, type Emit } from "./report.ts";

const IDLE_MAIN = path.resolve(import.meta.dirname, "../support/idle-sockets-main.ts");
const OPEN_LIMIT_MS = 60_000;
const FULL = { count: 10_000, runs: 5, untilMs: 2_000 } as const;
const QUICK = { count: 300, runs: 1, untilMs: 400 } as const;

/**
 * Idle WebSockets of a process of their own, held by the control-plane: its memory, and allocation
 * beside them. Baseline: the same control-plane before they came.
 */
export async function socketsBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const { count, runs, untilMs } = quick ? QUICK : FULL;
  const plane = await startControlPlane();
  const policy = await plane.publish("nothing", NOTHING);
  const target = {
    url: plane.wsUrl,
    body: { adhoc: true, policy_rule_uri: policy, inputs: {} },
  };
  await closedLoop(target, { sockets: 1, inFlight: 1, untilMs });
  const before = await measure(target, runs, untilMs);
  const beforeMiB = rssMiB(plane.pid);
  const options: IdleSocketsOptions = { url: plane.wsUrl, count };
  const idle = startJsonLineProcess<IdleSocketsStatus>(IDLE_MAIN, options);
  await until(() => (idle.latest()?.open ?? 0) >= count, {
    limitMs: OPEN_LIMIT_MS,
    what: () => `${count} idle sockets; ${JSON.stringify(idle.latest())}`,
  });
  const heldMiB = rssMiB(plane.pid);
  const beside = await measure(target, runs, untilMs);
  const stillOpen = idle.latest()?.open ?? 0;
  const baseline = (value: number) => ({ name: "no idle sockets", value });
  const held = `${count} idle sockets`;
  emit(
    compared(
      { figure: `of ${held} open at the end`, value: stillOpen, unit: "sockets" },
      { name: "opened", value: count },
    ),
  );
  emit(
    compared(
      { figure: `RSS of the control-plane with ${held}`, value: heldMiB, unit: "MiB" },
      baseline(beforeMiB),
    ),
  );
  for (const key of ["p50Ms", "p99Ms"] as const) {
    const one = { figure: `${key} of an allocation beside ${held}`, unit: "ms", runs };
    emit(compared({ ...one, value: beside[key] }, baseline(before[key])));
  }
  await idle.stop();
  await plane.stop();
}

async function measure(target: Target, runs: number, untilMs: number): Promise<LoadResult> {
  const results: LoadResult[] = [];
  for (let run = 0; run < runs; run += 1) {
    results.push(await closedLoop(target, { sockets: 1, inFlight: 1, untilMs }));
  }
  return medianResult(results);
}
