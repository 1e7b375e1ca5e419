import { setTimeout as delay } from "node:timers/promises";
import { exchange, post } from "../support/client.ts";
import { type Fleet, freePorts, launchFleet, until } from "../support/fleet.ts";
import { peakRssMiB, rssMiB } from "../support/process-stats.ts";
import { type BenchOptions, compared, type Emit, median, rounded } from "./report.ts";

const START_LIMIT_MS = 300_000;
const POLL_INTERVAL_MS = 2_000;
const SEEN_LIMIT_MS = 30_000;
/** How long a GPU fails, and how long one that is whole again is left alone. */
const FAULT_S = 3;
const STATE_OF_A_GPU = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        wanted = input_data["inputs"]
        nodes = input_data["cluster_data"][wanted["cluster"]]["data"]["nodes"]["nodeData"]
        node = next(node for node in nodes if node["id"] == wanted["node"])
        return {"cluster_id": None, "reasons": [node["gpus"]["gpus"][wanted["gpu"]]["state"]]}
`;

/** A fleet and for how long it is watched. */
interface Plan {
  readonly shape: string;
  readonly clusters: number;
  readonly minutes: number;
}

const FULL: readonly Plan[] = [
  { shape: "1000x1x8", clusters: 1_000, minutes: 2 },
  { shape: "100x100x8", clusters: 100, minutes: 5 },
];
const QUICK: readonly Plan[] = [{ shape: "4x2x8", clusters: 4, minutes: 0.1 }];

/**
 * Simulated fleets on this machine, through the real agents. First how long a change on a node takes until a
 * decision sees it: a GPU falls off its bus, a policy tells its state; baseline: one decision. Then how long large
 * fleets take to start, what they take of memory, and how often all their clusters were live while they were watched.
 */
export async function simulatedFleetBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  await changeToDecision(emit, quick ? 2 : 15);
  for (const plan of quick ? QUICK : FULL) await large(emit, plan);
}

interface Simulated {
  readonly fleet: Fleet;
  /** "http://127.0.0.1:31990", where faults are injected. */
  readonly simUrl: string;
  readonly startS: number;
}

async function start(shape: string): Promise<Simulated> {
  const beganMs = performance.now();
  const ports = await freePorts();
  const others = await freePorts();
  const fleet = await launchFleet({
    ports,
    args: ["--sim", shape, "--sim-port", String(others.http), "--no-cluster-ports"],
  });
  await until(() => fleet.output().includes("Ctrl-C stops the fleet"), {
    limitMs: START_LIMIT_MS,
    what: () => `${shape} to be ready; so far:\n${fleet.output()}`,
  });
  const startS = (performance.now() - beganMs) / 1_000;
  return { fleet, simUrl: `http://127.0.0.1:${others.http}`, startS };
}

async function changeToDecision(emit: Emit, runs: number): Promise<void> {
  const { fleet, simUrl } = await start("3x4x8");
  const policy = { name: "state", version: "1", release_tag: "bench" };
  await post(
    fleet,
    "/policy",
    JSON.stringify({ ...policy, files: { "code/function.py": STATE_OF_A_GPU } }),
  );
  const stateOf = async (run: number): Promise<string | undefined> => {
    const inputs = {
      cluster: `sim-${run % 3}`,
      node: `sim-${run % 3}-node-${run % 4}`,
      gpu: run % 8,
    };
    const request = JSON.stringify({ policy_rule_uri: "state:1-bench", inputs });
    const [reply] = await exchange(`ws://127.0.0.1:${fleet.ports.ws}`, [request]);
    return (reply as { data?: { reasons?: string[] } }).data?.reasons?.[0];
  };
  const [seenMs, aloneMs]: [number[], number[]] = [[], []];
  for (let run = 0; run < runs; run += 1) {
    await until(async () => (await stateOf(run)) === "free", {
      limitMs: SEEN_LIMIT_MS,
      what: () => "the GPU to be free",
    });
    const aloneBeganMs = performance.now();
    await stateOf(run);
    aloneMs.push(performance.now() - aloneBeganMs);
    const fault = `gpu-fail sim-${run % 3}/node-${run % 4}/${run % 8} ${FAULT_S}s`;
    const beganMs = performance.now();
    const answer = await fetch(`${simUrl}/sim/faults`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ fault }),
    });
    if (!answer.ok) throw new Error(`${fault}: ${await answer.text()}`);
    await until(async () => (await stateOf(run)) === "unhealthy", {
      limitMs: SEEN_LIMIT_MS,
      what: () => `a decision to see ${fault}`,
    });
    seenMs.push(performance.now() - beganMs);
  }
  const baseline = { name: "a decision", value: median(aloneMs) };
  const figure = "a GPU that falls off its bus, until a decision sees it";
  emit(compared({ figure, value: median(seenMs), unit: "ms", runs }, baseline));
  emit({ figure: `${figure}, longest`, value: rounded(Math.max(...seenMs)), unit: "ms", runs });
  await fleet.stop();
}

async function large(emit: Emit, { shape, clusters, minutes }: Plan): Promise<void> {
  const { fleet, startS } = await start(shape);
  emit({ figure: `${shape}: until all of it is live`, value: rounded(startS), unit: "s" });
  const untilMs = performance.now() + minutes * 60_000;
  let [polls, whole] = [0, 0];
  while (performance.now() < untilMs) {
    const answer = await fetch(`http://127.0.0.1:${fleet.ports.http}/metrics/clusters`);
    const { data } = (await answer.json()) as {
      data: { status: string; healthy_nodes: number; nodes: number }[];
    };
    const isWhole = data.every(
      ({ status, healthy_nodes, nodes }) => status === "live" && healthy_nodes === nodes,
    );
    polls += 1;
    if (isWhole && data.length === clusters) whole += 1;
    await delay(POLL_INTERVAL_MS);
  }
  const share = {
    figure: `${shape}: looks in ${minutes} min that found all of it live`,
    runs: polls,
  };
  emit({ ...share, value: rounded((100 * whole) / polls), unit: "percent" });
  for (const program of ["simulator", "control-plane"]) {
    const [pid = 0] = fleet.pids(`${program}/src/main.ts`);
    const figure = `${shape}: rss of ${program}`;
    emit({ figure, value: rounded(rssMiB(pid)), unit: "MiB" });
    emit({ figure: `${figure}, peak`, value: rounded(peakRssMiB(pid)), unit: "MiB" });
  }
  await fleet.stop();
}
