import { Agent, request } from "node:http";
import { syntheticClusterId } from "../support/fleet-generator.ts";
import { type BenchOptions, compared, type Emit, median, quantile } from "./report.ts";
import { startSyntheticFleet } from "./synthetic-fleet.ts";

const FULL = { clusters: 1_000, runs: 5, requests: 200 } as const;
const QUICK = { clusters: 10, runs: 1, requests: 20 } as const;
/** Requests before the first that count. */
const WARM_UP = 50;
/** As in the bench of the links: 1,000 clusters at the default of 1 s are more than both cores of one machine. */
const REPORT_INTERVAL_MS = "5000";
/** Clusters that a filter by id names. */
const NAMED = 10;

interface Asked {
  readonly name: string;
  readonly path: string;
  /** POST with this JSON; GET without. */
  readonly body?: string;
}

interface Times {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Queries of the global metrics over clusters of 8 x 8 that report every 5 s over real agent links, one
 * request after the other over one connection. Baseline: `GET /healthz` over the same connection.
 */
export async function clusterQueryBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const plan = quick ? QUICK : FULL;
  const fleet = await startSyntheticFleet({
    clusters: plan.clusters,
    env: { BERTH_REPORT_INTERVAL_MS: REPORT_INTERVAL_MS },
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (asked: Asked) => timeOf(agent, fleet.controlPlane.restUrl, asked);
  for (const asked of queries(plan.clusters)) {
    const times = await measure(ask, asked, plan);
    for (const [key, unit] of [
      ["p50Ms", "ms"],
      ["p99Ms", "ms"],
    ] as const) {
      const figure = `${asked.name}: ${key} at ${plan.clusters} clusters`;
      const baseline = { name: "GET /healthz", value: times.base[key] };
      emit(compared({ figure, value: times.ours[key], unit, runs: plan.runs }, baseline));
    }
  }
  agent.destroy();
  await fleet.stop();
}

function queries(clusters: number): readonly Asked[] {
  const ids = Array.from({ length: NAMED }, (_, n) =>
    syntheticClusterId(Math.floor((n * clusters) / NAMED)),
  );
  const query = (name: string, filter: object): Asked => ({
    name,
    path: "/cluster/query",
    body: JSON.stringify(filter),
  });
  const [one = ""] = ids;
  return [
    { name: "one cluster", path: `/cluster/${one}` },
    { name: "one cluster by a parameter", path: `/cluster/query?clusterId=${one}` },
    query("10 clusters by id", { clusterId: { $in: ids } }),
    query("a total that few have", { gpu_utilization: { $gte: 99 } }),
    query("an aggregate that few have", { "cluster.gpu.free_gpus": { $gte: 64 } }),
    query("a node that one has", { "nodes.id": `${one}-node-3` }),
    query("a GPU that none has", { "nodes.gpus.uuid": "GPU-none" }),
    { name: "sums over all clusters", path: "/cluster/aggregate" },
  ];
}

/** Medians over the runs; the baseline's requests alternate with ours. */
async function measure(
  ask: (asked: Asked) => Promise<number>,
  asked: Asked,
  { runs, requests }: { readonly runs: number; readonly requests: number },
): Promise<{ readonly ours: Times; readonly base: Times }> {
  const healthz = { name: "healthz", path: "/healthz" };
  const [ours, base]: [Times[], Times[]] = [[], []];
  for (let warm = 0; warm < WARM_UP; warm += 1) await ask(asked);
  for (let run = 0; run < runs; run += 1) {
    const [ourMs, baseMs]: [number[], number[]] = [[], []];
    for (let at = 0; at < requests; at += 1) {
      ourMs.push(await ask(asked));
      baseMs.push(await ask(healthz));
    }
    ours.push(timesOf(ourMs));
    base.push(timesOf(baseMs));
  }
  return { ours: medians(ours), base: medians(base) };
}

function timesOf(latenciesMs: readonly number[]): Times {
  return { p50Ms: quantile(latenciesMs, 0.5), p99Ms: quantile(latenciesMs, 0.99) };
}

function medians(times: readonly Times[]): Times {
  return {
    p50Ms: median(times.map((time) => time.p50Ms)),
    p99Ms: median(times.map((time) => time.p99Ms)),
  };
}

/** Time until the whole answer is there, ms; rejects when it is no success. */
function timeOf(agent: Agent, restUrl: string, { path, body }: Asked): Promise<number> {
  const beginMs = performance.now();
  const method = body === undefined ? "GET" : "POST";
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const asking = request(`${restUrl}${path}`, { agent, method, headers }, (answer) => {
      answer.once("error", reject);
      answer.once("end", () => {
        if (answer.statusCode === 200) resolve(performance.now() - beginMs);
        else reject(new Error(`${method} ${path} answered ${answer.statusCode}`));
      });
      answer.resume();
    });
    asking.once("error", reject);
    asking.end(body);
  });
}
