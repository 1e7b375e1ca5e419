import { describe, expect, it } from "vitest";
import { agentRun, type RunReport } from "../soak/agent-run.ts";
import { fleetRun } from "../soak/fleet-run.ts";
import { KubernetesPlane } from "../soak/kubernetes-plane.ts";
import { SOAK_NODES } from "../soak/soak-runtime.ts";
import { hasKubernetes } from "../support/kubernetes/binaries.ts";

const LIMIT_MS = 600_000;
const AGENT_RUNS = 39;
const KUBERNETES_RUNS = 5;
const FLEET_RUNS = 6;
const LANES = 3;

/** Runs the seeds 1 and on, some at a time; gives what did not hold, with what had happened. */
async function failuresOf(run: (seed: number) => Promise<RunReport>, runs: number) {
  const failures: unknown[] = [];
  let seed = 0;
  const lane = async () => {
    while (seed < runs) {
      seed += 1;
      const report = await run(seed);
      if (report.problems.length > 0) failures.push(report);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return failures;
}

describe("seeded runs with random requests and faults", () => {
  it("of an agent that is killed, whose store is put back or whose ledger is lost, end with records, ledger and processes alike", {
    timeout: LIMIT_MS,
  }, async () => {
    expect(await failuresOf(agentRun, AGENT_RUNS)).toEqual([]);
  });

  it.skipIf(!hasKubernetes())(
    "of an agent on Kubernetes, whose API server is paused and killed and loses pods besides, end with objects like them, too",
    { timeout: LIMIT_MS },
    async () => {
      const plane = await KubernetesPlane.start(SOAK_NODES);
      try {
        const run = (seed: number) => agentRun(seed, (dataDir) => plane.open(dataDir));
        expect(await failuresOf(run, KUBERNETES_RUNS)).toEqual([]);
      } finally {
        await plane.stop();
      }
    },
  );

  it("of a fleet whose programs are killed end with each block on one cluster, as the control-plane tells", {
    timeout: LIMIT_MS,
  }, async () => {
    expect(await failuresOf(fleetRun, FLEET_RUNS)).toEqual([]);
  });
});
