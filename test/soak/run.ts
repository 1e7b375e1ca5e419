import { parseArgs } from "node:util";
import { agentRun } from "./agent-run.ts";
import { fleetRun } from "./fleet-run.ts";

/**
 * `npm run soak [-- agent|fleet --runs 50 --seed 1 --parallel 2]`: seeded runs with random requests and faults, each of which must end
 * with records, ledger and what runs saying the same. Prints one JSON line per run; ends with 1 when one did not hold, which
 * `--runs 1 --seed N` repeats.
 */
const SCENES = { agent: agentRun, fleet: fleetRun };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    parallel: { type: "string", default: "2" },
  },
});
const [scene = "agent"] = positionals;
if (!(scene in SCENES)) {
  console.error(`there is no scene ${scene}; there are ${Object.keys(SCENES).join(", ")}`);
  process.exit(2);
}
const run = SCENES[scene as keyof typeof SCENES];
const runs = Number(values.runs);
const first = Number(values.seed);
const failed: number[] = [];
let next = first;

async function lane(): Promise<void> {
  while (next < first + runs) {
    const seed = next;
    next += 1;
    const begunAtMs = performance.now();
    const report = await run(seed);
    const seconds = Math.round((performance.now() - begunAtMs) / 100) / 10;
    if (report.problems.length > 0) failed.push(seed);
    console.log(JSON.stringify({ ...report, seconds }));
  }
}

await Promise.all(Array.from({ length: Number(values.parallel) }, lane));
console.log(JSON.stringify({ scene, runs, failed }));
process.exitCode = failed.length === 0 ? 0 : 1;
