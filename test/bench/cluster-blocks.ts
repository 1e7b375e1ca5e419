import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { cpuSeconds, rssMiB } from "../support/process-stats.ts";
import { type BenchOptions, compared, type Emit, median, quantile, rounded } from "./report.ts";

const PROGRAM = path.resolve(import.meta.dirname, "../../cluster-agent/src/testing/large-agent.ts");
const SHAPE = { nodes: 100, gpusPerNode: 8, blocks: 500, instancesPerBlock: 4 };
const QUICK_SHAPE = { nodes: 4, gpusPerNode: 2, blocks: 20, instancesPerBlock: 2 };
const IDLE_MS = 20_000;
const QUERIES = 300;
/** What the seed's example asks for, the ten first by id. */
const QUERY = {
  query: {
    "cluster.reputation": { $gt: 90 },
    "policies.autoscaler.policyRuleURI": { $ne: "" },
  },
  options: { sort: { id: 1 }, limit: 10 },
};

/**
 * One cluster-agent with 100 nodes of 8 GPUs that report every 5 s, 500 blocks and 2,000 instances: its memory and its use of
 * a core while nobody asks, and the seed's `POST /blocks/query`, client included, against `GET /ledger`, which does next to
 * nothing.
 */
export async function clusterBlocksBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), "berth-bench-"));
  const [httpPort, nodePort] = await freePorts(2);
  const env = {
    BERTH_DATA_DIR: directory,
    BERTH_HTTP_PORT: String(httpPort),
    BERTH_NODE_PORT: String(nodePort),
    BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:9",
    BERTH_LOCAL_TOKEN: `berth1.${"L".repeat(43)}`,
  };
  const options = JSON.stringify({ env, ...(quick ? QUICK_SHAPE : SHAPE) });
  const child = spawn(process.execPath, [PROGRAM, options], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const { url } = JSON.parse((await lines.next()).value ?? "{}") as { url: string };
    const idleMs = quick ? 1_000 : IDLE_MS;
    await delay(idleMs / 2);
    const pid = child.pid ?? 0;
    const before = cpuSeconds(pid);
    await delay(idleMs);
    const share = ((cpuSeconds(pid) - before) / (idleMs / 1_000)) * 100;
    emit({ figure: "use of a core, idle", value: rounded(share), unit: "%" });
    emit({ figure: "rss, idle", value: rounded(rssMiB(pid)), unit: "MiB" });
    const queries = quick ? 10 : QUERIES;
    const baseline = await timed(queries, () => fetch(`${url}/ledger`));
    const asked = await timed(queries, () => {
      const headers = { "content-type": "application/json" };
      return fetch(`${url}/blocks/query`, { method: "POST", headers, body: JSON.stringify(QUERY) });
    });
    const against = { name: "GET /ledger", value: median(baseline) };
    emit(compared({ figure: "/blocks/query, p50", value: median(asked), unit: "ms" }, against));
    emit({ figure: "/blocks/query, p99", value: rounded(quantile(asked, 0.99)), unit: "ms" });
    emit({ figure: "rss, asked", value: rounded(rssMiB(pid)), unit: "MiB" });
  } finally {
    child.stdin?.end();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function timed(count: number, request: () => Promise<Response>): Promise<readonly number[]> {
  const times: number[] = [];
  for (let turn = 0; turn < count; turn += 1) {
    const begunAtMs = performance.now();
    const response = await request();
    await response.text();
    if (!response.ok) throw new Error(`the agent answered ${response.status}`);
    times.push(performance.now() - begunAtMs);
  }
  return times;
}
