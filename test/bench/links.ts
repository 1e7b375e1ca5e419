import { setTimeout as delay } from "node:timers/promises";
import { type ControlPlaneProcess, startControlPlane } from "../support/control-plane-process.ts";
import { until } from "../support/fleet.ts";
import type { GeneratorStatus } from "../support/fleet-generator.ts";
import type { JsonLineProcess } from "../support/json-line-process.ts";
import { cpuSeconds, peakRssMiB, rssMiB } from "../support/process-stats.ts";
import { type BenchOptions, compared, type Emit, median, rounded } from "./report.ts";
import { startGenerator } from "./synthetic-fleet.ts";

const REPORT_INTERVAL_MS = 5_000;
const LIVE_LIMIT_MS = 120_000;

interface Plan {
  readonly emit: Emit;
  readonly links: number;
  readonly manyLinks: number;
  /** CPU is taken over windows of one report interval each. */
  readonly windows: number;
  readonly restarts: number;
  readonly manyForMs: number;
}

const FULL = { links: 1_000, manyLinks: 5_000, windows: 12, restarts: 5, manyForMs: 60_000 };
const QUICK = { links: 30, manyLinks: 60, windows: 1, restarts: 1, manyForMs: 8_000 };

/**
 * Agent links from one generator process, 8 x 8 GPUs each, telemetry every 5 s: what they cost the
 * control-plane, how long a control-plane that was killed takes to see all of them again, and what
 * happens with five times as many. Baselines: the generator's own CPU, the control-plane without
 * links, its start without them.
 */
export async function linksBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const plan: Plan = { emit, ...(quick ? QUICK : FULL) };
  const env = { BERTH_REPORT_INTERVAL_MS: String(REPORT_INTERVAL_MS) };
  const plane = await startControlPlane({ env });
  await delay(REPORT_INTERVAL_MS / 5);
  const emptyMiB = rssMiB(plane.pid);
  const generator = startGenerator(plane, plan.links);
  emit({
    figure: `${plan.links} links from nothing to a full view`,
    value: rounded((await liveAfterMs(plane, generator, plan.links)) / 1_000),
    unit: "s",
  });
  await measureSteady(plan, { plane, generator, emptyMiB });
  await measureRestarts(plan, plane, generator);
  await generator.stop();
  await measureMany(plan, plane, emptyMiB);
  await plane.stop();
}

interface Linked {
  readonly plane: ControlPlaneProcess;
  readonly generator: JsonLineProcess<GeneratorStatus>;
  /** RSS of the control-plane before the first link. */
  readonly emptyMiB: number;
}

async function measureSteady(
  { emit, links, windows }: Plan,
  { plane, generator, emptyMiB }: Linked,
): Promise<void> {
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let window = 0; window < windows; window += 1) {
    const [cores, generatorCores] = await coresOver(REPORT_INTERVAL_MS, [plane.pid, generator.pid]);
    ours.push(cores ?? Number.NaN);
    theirs.push(generatorCores ?? Number.NaN);
  }
  const cpu = { figure: `CPU of the control-plane, ${links} links`, value: median(ours) };
  const baseline = { name: "generator", value: median(theirs) };
  emit(compared({ ...cpu, unit: "cores", runs: windows }, baseline));
  emitMemory(emit, `${links} links`, { pid: plane.pid, emptyMiB });
}

async function measureRestarts(
  { emit, links, restarts }: Plan,
  plane: ControlPlaneProcess,
  generator: JsonLineProcess<GeneratorStatus>,
): Promise<void> {
  const [full, listening]: [number[], number[]] = [[], []];
  for (let run = 0; run < restarts; run += 1) {
    const beginMs = performance.now();
    await plane.restart();
    await until(() => answers(plane.restUrl), { what: () => `a restart: ${plane.output()}` });
    listening.push((performance.now() - beginMs) / 1_000);
    await liveAfterMs(plane, generator, links);
    full.push((performance.now() - beginMs) / 1_000);
  }
  emit(
    compared(
      {
        figure: `kill -9 to a full view of ${links} links`,
        value: median(full),
        unit: "s",
        runs: restarts,
      },
      { name: "kill -9 to REST answers", value: median(listening) },
    ),
  );
}

async function measureMany(
  { emit, manyLinks, manyForMs }: Plan,
  plane: ControlPlaneProcess,
  emptyMiB: number,
): Promise<void> {
  // A new life: what it has seen live is what came now.
  await plane.restart();
  await until(() => answers(plane.restUrl), { what: () => `a restart: ${plane.output()}` });
  const beginMs = performance.now();
  const generator = startGenerator(plane, manyLinks, 2);
  let fullAfterS: number | undefined;
  while (performance.now() - beginMs < manyForMs) {
    await delay(250);
    generator.latest();
    if (fullAfterS === undefined && plane.liveClusters() >= manyLinks) {
      fullAfterS = (performance.now() - beginMs) / 1_000;
    }
  }
  const [cores, generatorCores] = await coresOver(REPORT_INTERVAL_MS, [plane.pid, generator.pid]);
  emit(
    compared(
      {
        figure: `clusters live ${rounded(manyForMs / 1_000)} s after ${manyLinks} dialled`,
        value: plane.liveClusters(),
        unit: "clusters",
      },
      { name: "links", value: manyLinks },
    ),
  );
  if (fullAfterS !== undefined) {
    const figure = `${manyLinks} links from nothing to a full view`;
    emit({ figure, value: rounded(fullAfterS), unit: "s" });
  }
  const figure = `CPU of the control-plane, ${manyLinks} links`;
  emit(
    compared(
      { figure, value: cores ?? Number.NaN, unit: "cores" },
      { name: "generator", value: generatorCores ?? Number.NaN },
    ),
  );
  emitMemory(emit, `${manyLinks} links`, { pid: plane.pid, emptyMiB });
  await generator.stop();
}

function emitMemory(
  emit: Emit,
  at: string,
  { pid, emptyMiB }: { readonly pid: number; readonly emptyMiB: number },
): void {
  const baseline = { name: "control-plane without links", value: emptyMiB };
  const figure = (name: string, value: number) =>
    emit(compared({ figure: `${name} of the control-plane, ${at}`, value, unit: "MiB" }, baseline));
  figure("RSS", rssMiB(pid));
  figure("peak RSS", peakRssMiB(pid));
}

/** Time until the control-plane sees all links live, ms. */
async function liveAfterMs(
  plane: ControlPlaneProcess,
  generator: JsonLineProcess<GeneratorStatus>,
  links: number,
): Promise<number> {
  const beginMs = performance.now();
  await until(() => plane.liveClusters() >= links, {
    limitMs: LIVE_LIMIT_MS,
    what: () => `${links} live clusters; ${JSON.stringify(generator.latest())}`,
  });
  return performance.now() - beginMs;
}

/** Cores that each process used on average over a time. */
async function coresOver(ms: number, pids: readonly number[]): Promise<readonly number[]> {
  const [beginMs, before] = [performance.now(), pids.map(cpuSeconds)];
  await delay(ms);
  const elapsedS = (performance.now() - beginMs) / 1_000;
  return pids.map((pid, index) => (cpuSeconds(pid) - (before[index] ?? 0)) / elapsedS);
}

async function answers(restUrl: string): Promise<boolean> {
  try {
    return (await fetch(`${restUrl}/healthz`)).ok;
  } catch {
    return false;
  }
}
