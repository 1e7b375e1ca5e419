import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { berth, type Fleet, freePorts, launchFleet, until } from "../support/fleet.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const BERTH = path.join(ROOT, "cli/bin/berth.js");
/** A fault is on the node within its sample, 1 s, and then goes up two links, each at once. */
const SEEN_WITHIN_MS = 10_000;

/** A command that goes on, and what it printed so far. */
class Following {
  stdout = "";
  stderr = "";
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;

  constructor(fleet: Fleet, ...args: readonly string[]) {
    this.child = spawn(process.execPath, [BERTH, ...args], {
      cwd: ROOT,
      env: { ...process.env, BERTH_SERVER: `http://127.0.0.1:${fleet.ports.http}` },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stdout?.on("data", (chunk) => {
      this.stdout += chunk;
    });
    this.child.stderr?.on("data", (chunk) => {
      this.stderr += chunk;
    });
    this.ended = new Promise((resolve) => this.child.once("exit", resolve));
  }

  rows(): readonly Record<string, unknown>[] {
    const whole = this.stdout.slice(0, this.stdout.lastIndexOf("\n") + 1);
    return whole
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  }

  async stop(): Promise<number | null> {
    this.child.kill("SIGINT");
    return this.ended;
  }
}

let fleet: Fleet;
let simServer: string;

beforeAll(async () => {
  const ports = await freePorts();
  const simPort = String(ports.cluster);
  simServer = `http://127.0.0.1:${simPort}`;
  const args = ["--sim", "2x2x4", "--sim-port", simPort, "--no-cluster-ports"];
  fleet = await launchFleet({ ports, args });
  await until(() => fleet.output().includes("Ctrl-C stops the fleet"), {
    limitMs: 80_000,
    what: () => `the simulated fleet to be ready; so far:\n${fleet.output()}`,
  });
});

afterAll(() => fleet.stop());

async function rowsOf(...args: readonly string[]): Promise<readonly Record<string, unknown>[]> {
  const { code, stdout, stderr } = await berth(fleet, ...args, "-o", "json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

describe("berth get", () => {
  it("lists clusters, nodes and GPUs of a simulated fleet, and says that they are simulated", async () => {
    const clusters = await berth(fleet, "get", "clusters");
    expect(clusters.stdout).toMatch(
      /^CLUSTER +STATUS .*\nsim-0 +live \(simulated\) .*\nsim-1 +live/,
    );
    expect(await rowsOf("get", "nodes")).toHaveLength(4);
    await until(
      async () => (await rowsOf("get", "gpus")).every((row) => typeof row.utilization === "number"),
      { what: () => "samples of all GPUs" },
    );
    const gpus = await rowsOf("get", "gpus");
    expect(gpus).toHaveLength(16);
    for (const gpu of gpus) {
      expect(gpu).toMatchObject({ simulated: true, state: "free", quality: "simulated" });
      expect(gpu.age_ms).toBeLessThan(SEEN_WITHIN_MS);
    }
    const of = await rowsOf("get", "gpus", "--cluster", "sim-1", "--state", "free");
    expect(of.map((gpu) => gpu.cluster_id)).toEqual(Array.from({ length: 8 }, () => "sim-1"));
    expect((await berth(fleet, "get", "nodes", "--cluster", "none")).stderr).toBe(
      "no nodes found\n",
    );
  });

  it("--watch tells of a GPU that fails, and goes on over a killed control-plane", async () => {
    const watch = new Following(fleet, "get", "gpus", "--watch", "--no-samples", "-o", "json");
    const failed = (id: string) =>
      watch.rows().find((row) => row.id === id && row.state === "unhealthy");
    try {
      await until(() => watch.rows().length >= 16, { what: () => "all GPUs" });
      const fault = ["sim", "fault", "gpu-fail", "--sim-server", simServer];
      expect((await berth(fleet, ...fault, "sim-0/node-1/2")).code).toBe(0);
      await until(() => failed("2") !== undefined, {
        limitMs: SEEN_WITHIN_MS,
        what: () => `the fault to be seen; so far:\n${watch.stdout}`,
      });
      expect(failed("2")).toMatchObject({ cluster_id: "sim-0", health: "hardware" });
      expect(failed("2")?.reason).toMatch(/XID 79|bus/);

      process.kill(fleet.pidOf("control-plane"), "SIGKILL");
      await until(() => watch.stderr.includes("the watch works again"), {
        limitMs: 60_000,
        what: () => `the watch to work again; so far:\n${watch.stderr}`,
      });
      expect(watch.stderr).toMatch(/^the watch was lost \(.+\): trying again in/);
      expect((await berth(fleet, ...fault, "sim-0/node-0/3")).code).toBe(0);
      await until(() => failed("3") !== undefined, {
        limitMs: 30_000,
        what: () => `the second fault to be seen; so far:\n${watch.stdout.slice(-2_000)}`,
      });
    } finally {
      expect(await watch.stop()).toBe(0);
    }
  });
});

describe("berth top", () => {
  it("shows what is in use, once where there is no terminal", async () => {
    await until(async () => /2 live/.test((await berth(fleet, "top")).stdout), {
      limitMs: 60_000,
      what: () => "both clusters to be live",
    });
    const { code, stdout } = await berth(fleet, "top");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^berth top fleet {3}http:.* {2}simulated\n2 clusters \(2 live\) {3}4 nodes/,
    );
    expect(stdout).toMatch(/GPUs \d+% {3}GPU memory [\d.]+\/[\d.]+ GiB {3}cores/);
    expect(stdout.split("\n").filter((line) => line.includes("healthy (sim)"))).toHaveLength(4);
    const gpus = await rowsOf("top", "gpus");
    const uses = gpus.map((gpu) => Number(gpu.utilization ?? -1));
    expect(uses).toEqual(uses.toSorted((a, b) => b - a));
  });
});
