import { parseArgs } from "node:util";
import { agentRun, type RunReport } from "./agent-run.ts";
import { fleetRun } from "./fleet-run.ts";
import { KubernetesPlane } from "./kubernetes-plane.ts";
import { SOAK_NODES } from "./soak-runtime.ts";

/** How a kind of run is done, and what ends behind all of them. */
interface Scene {
  readonly run: (seed: number) => Promise<RunReport>;
  readonly end?: () => Promise<void>;
}

/**
 * `npm run soak [-- agent|kubernetes|fleet --runs 50 --seed 1 --parallel 2]`: seeded runs with random requests and faults, each of which must
 * end with records, ledger and what runs saying the same. Prints one JSON line per run; ends with 1 when one did not hold,
 * which `--runs 1 --seed N` repeats.
 */
const SCENES: Readonly<Record<string, () => Scene | Promise<Scene>>> = {
  agent: () => ({ run: agentRun }),
  fleet: () => ({ run: fleetRun }),
  kubernetes: async () => {
    const plane = await KubernetesPlane.start(SOAK_NODES);
    const run = (seed: number) => agentRun(seed, (dataDir) => plane.open(dataDir));
    return { run, end: () => plane.stop() };
  },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    parallel: { type: "string", default: "2" },
  },
});
const [scene = "agent"] = positionals;
const open = Object.hasOwn(SCENES, scene) ? SCENES[scene] : undefined;
if (open === undefined) {
  console.error(`there is no scene ${scene}; there are ${Object.keys(SCENES).join(", ")}`);
  process.exit(2);
}
const { run, end } = await open();
const runs = Number(values.runs);
const first = Number(values.seed);
const failed: number[] = [];
const done: Record<string, number> = {};
let next = first;

async function lane(): Promise<void> {
  while (next < first + runs) {
    const seed = next;
    next += 1;
    const begunAtMs = performance.now();
    const report = await run(seed);
    const seconds = Math.round((performance.now() - begunAtMs) / 100) / 10;
    if (report.problems.length > 0) failed.push(seed);
    for (const [kind, count] of Object.entries(report.done ?? {})) {
      done[kind] = (done[kind] ?? 0) + count;
    }
    console.log(JSON.stringify({ ...report, seconds }));
  }
}

await Promise.all(Array.from({ length: Number(values.parallel) }, lane));
await end?.();
console.log(JSON.stringify({ scene, runs, done, failed }));
process.exitCode = failed.length === 0 ? 0 : 1;
