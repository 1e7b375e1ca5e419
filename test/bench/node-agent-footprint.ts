import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { FAKE_NVIDIA_SMI_PATH } from "@berth/node-agent/testing";
import { bundle } from "../../scripts/bundle.ts";
import { cpuSeconds, pssMiB, rssMiB } from "../support/process-stats.ts";
import { type BenchOptions, type Emit, median, rounded } from "./report.ts";

const SECRET = "b".repeat(43);
const GPUS = 8;
const ENTRY = path.join(import.meta.dirname, "../../node-agent/src/main.ts");
const SERVER = path.join(import.meta.dirname, "../support/node-server-process.ts");

/**
 * One node-agent under its real stream: a fake nvidia-smi with 8 GPUs, samples every second to a server
 * in another process. Resident and proportional memory are medians of one reading per second; CPU is
 * that of the agent without its children, over the whole time, in percent of one core. Once from its
 * source and once as a bundle, one after the other.
 */
export async function nodeAgentFootprint(emit: Emit, { quick }: BenchOptions): Promise<void> {
  const [settleMs, seconds] = quick ? [3_000, 5] : [10_000, 60];
  const folder = await mkdtemp(path.join(os.tmpdir(), "berth-footprint-"));
  const bundled = path.join(folder, "node-agent.mjs");
  await bundle({ name: "node-agent", entry: ENTRY, outfile: bundled });
  const forms = [
    ["source", ENTRY],
    ["bundle", bundled],
  ] as const;
  try {
    for (const [form, file] of forms) {
      const dataDir = path.join(folder, form);
      const measured = await measure({ file, dataDir, settleMs, seconds });
      for (const { figure, value, unit } of measured) {
        emit({
          figure: `${figure} of node-agent (${form})`,
          value: rounded(value),
          unit,
          runs: seconds,
        });
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface Run {
  readonly file: string;
  readonly dataDir: string;
  readonly settleMs: number;
  readonly seconds: number;
}

async function measure({ file, dataDir, settleMs, seconds }: Run) {
  const server = await startServer();
  const agent = spawn(process.execPath, [file], {
    stdio: "ignore",
    env: {
      ...process.env,
      BERTH_DATA_DIR: dataDir,
      BERTH_CLUSTER_AGENT_URL: `http://127.0.0.1:${server.port}`,
      BERTH_ENROLMENT_TOKEN: `berth1.${SECRET}`,
      BERTH_NVIDIA_SMI: FAKE_NVIDIA_SMI_PATH,
      FAKE_SMI_PROFILE: "h100",
      BERTH_LOG_LEVEL: "warn",
      // As `berth up` starts it, and as docs/settings.md says to.
      MALLOC_TRIM_THRESHOLD_: "65536",
    },
  });
  const pid = agent.pid ?? 0;
  try {
    await delay(settleMs);
    const heardBefore = server.samples();
    const beganMs = performance.now();
    const cpuBefore = cpuSeconds(pid);
    const rss: number[] = [];
    const pss: number[] = [];
    for (let second = 0; second < seconds; second += 1) {
      await delay(1_000);
      rss.push(rssMiB(pid));
      pss.push(pssMiB(pid));
    }
    const tookS = (performance.now() - beganMs) / 1_000;
    const samplesPerS = (server.samples() - heardBefore) / tookS;
    // A figure of an agent that reports nothing would be a good one.
    if (samplesPerS < GPUS / 2) throw new Error(`only ${samplesPerS} GPU samples per second came`);
    const cpuPercent = (100 * (cpuSeconds(pid) - cpuBefore)) / tookS;
    return [
      { figure: "rss", value: median(rss), unit: "MiB" },
      { figure: "pss", value: median(pss), unit: "MiB" },
      { figure: "cpu", value: cpuPercent, unit: "% of a core" },
      { figure: "GPU samples", value: samplesPerS, unit: "1/s" },
    ];
  } finally {
    await end(agent, "SIGTERM");
    await end(server.process, "SIGKILL");
  }
}

async function startServer() {
  const child = spawn(process.execPath, [SERVER, SECRET, "1000"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const [port] = await once(lines, "line");
  let samples = 0;
  lines.on("line", (line) => {
    samples = Number(line.split(" ")[1]);
  });
  return { process: child, port: Number(port), samples: () => samples };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill(signal);
  await exit;
}
