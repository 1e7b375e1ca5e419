import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { freePorts } from "@berth/service-kit/testing/free-ports";
import { type BenchOptions, type Emit, median, rounded } from "./report.ts";

const PROGRAM = path.resolve(import.meta.dirname, "../../cluster-agent/src/testing/ledger-load.ts");
const SHAPE = { nodes: 100, gpusPerNode: 8, callers: 1_000 };
const QUICK_SHAPE = { nodes: 4, gpusPerNode: 2, callers: 20 };
const RUNS = 5;

/** What the program tells. */
interface Told {
  readonly seconds: number;
  readonly taken: number;
  readonly doubles: number;
  readonly leases: number;
}

/**
 * 1,000 callers at once on an agent with 100 nodes of 8 GPUs: each has a share of a GPU chosen by best fit, leases it and turns
 * the lease into an allocation, durably. Fails when one is refused, a GPU is given twice, or a lease is left.
 */
export async function ledgerBench(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const shape = quick ? QUICK_SHAPE : SHAPE;
  const rates: number[] = [];
  for (let run = 0; run < (quick ? 1 : RUNS); run += 1) {
    const { seconds, taken, doubles, leases } = await oneRun(shape);
    if (taken < shape.callers || doubles > 0 || leases > 0) {
      throw new Error(
        `${taken} of ${shape.callers} were placed, ${doubles} GPUs given twice, ${leases} leases left`,
      );
    }
    rates.push(taken / seconds);
  }
  const value = rounded(median(rates));
  emit({ figure: "placed, leased and taken", value, unit: "/s", runs: rates.length });
}

async function oneRun(shape: object): Promise<Told> {
  const directory = mkdtempSync(path.join(tmpdir(), "berth-bench-"));
  const [httpPort, nodePort] = await freePorts(2);
  const env = {
    BERTH_DATA_DIR: directory,
    BERTH_HTTP_PORT: String(httpPort),
    BERTH_NODE_PORT: String(nodePort),
    BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:9",
    BERTH_LOCAL_TOKEN: `berth1.${"L".repeat(43)}`,
  };
  const options = JSON.stringify({ env, ...shape });
  const child = spawn(process.execPath, [PROGRAM, options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let printed = "";
  child.stdout.on("data", (chunk: Buffer) => {
    printed += chunk.toString();
  });
  await once(child, "close");
  rmSync(directory, { recursive: true, force: true });
  return JSON.parse(printed) as Told;
}
