import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { HealthClass, Quality } from "@berth/proto";
import { freePort } from "@berth/service-kit/testing/free-ports";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { type FakeSmiRun, fakeSmiRun } from "./testing/fake-smi-run.ts";
import { type NodeServer, startNodeServer } from "./testing/node-server.ts";

const run = promisify(execFile);
const SECRET = "t".repeat(43);
const WAIT = { timeout: 10_000, interval: 50 };
const GSP_TIMEOUT = "119, pid=7, name=train, Timeout after 6s of waiting for RPC response";

// Far from any package.json and node_modules, as on a node.
let folder = "";
let file = "";
let dataDir = "";
let fake: FakeSmiRun;
let server: NodeServer;
let agent: ChildProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), "berth-bundle-"));
  file = path.join(folder, "node-agent.mjs");
  const entry = path.join(import.meta.dirname, "main.ts");
  const script = path.join(import.meta.dirname, "../../scripts/bundle.ts");
  await run(process.execPath, [script, "node-agent", entry, file]);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(os.tmpdir(), "berth-bundle-data-"));
  fake = await fakeSmiRun("h100");
  server = await startNodeServer({ secret: SECRET });
});

afterEach(async () => {
  agent?.kill("SIGKILL");
  server.kill();
  await fake.dispose();
  await rm(dataDir, { recursive: true, force: true });
});

it("is one file", async () => {
  expect(await readdir(folder)).toEqual(["node-agent.mjs"]);
});

it("runs by itself: registers, reports samples, host and health, serves metrics, and stops in order", async () => {
  const kernelLog = path.join(dataDir, "kernel-log");
  await writeFile(kernelLog, "6,41,1000,-;usb 1-1: new high-speed USB device\n");
  const metricsPort = await freePort();
  const child = spawn(process.execPath, [file], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...fake.env,
      BERTH_DATA_DIR: dataDir,
      BERTH_CLUSTER_AGENT_URL: `http://127.0.0.1:${server.port}`,
      BERTH_ENROLMENT_TOKEN: `berth1.${SECRET}`,
      BERTH_NVIDIA_SMI: fake.smi.command,
      BERTH_KERNEL_LOG: kernelLog,
      BERTH_NODE_ID: "bundled",
      BERTH_METRICS_PORT: String(metricsPort),
    },
  });
  agent = child;
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  await vi.waitFor(() => {
    const { reports } = server;
    expect(reports.some(({ host }) => host?.quality === Quality.MEASURED)).toBe(true);
    const measured = reports
      .flatMap(({ gpus }) => gpus)
      .filter(({ quality }) => quality === Quality.MEASURED);
    expect(measured.length).toBeGreaterThanOrEqual(8);
  }, WAIT);
  expect(server.registrations[0]).toMatchObject({ nodeId: "bundled" });
  expect(server.reports[0]?.health).toMatchObject({ kernelLog: Quality.MEASURED, facts: [] });
  const metrics = await fetch(`http://127.0.0.1:${metricsPort}/metrics`);
  const text = await metrics.text();
  expect(text.match(/^berth_gpu_temperature_celsius\{/gm)).toHaveLength(8);
  expect(text).toContain('berth_gpu_child{state="running"} 1\n');
  expect(text).toContain("berth_link_connected 1\n");
  const gpus = server.registrations[0]?.fingerprint?.gpus ?? [];
  expect(gpus).toHaveLength(8);
  const place = gpus[7]?.pciBusId.toLowerCase().replace(/^0000(.*)\.0$/, "$1");
  await appendFile(kernelLog, `3,42,2000,-;NVRM: Xid (PCI:${place}): ${GSP_TIMEOUT}\n`);
  await vi.waitFor(() => {
    const health = server.reports.findLast((report) => report.health !== undefined)?.health;
    const healthClass = HealthClass.RESET;
    expect(health?.facts).toMatchObject([{ kind: "xid", code: 119, healthClass }]);
    expect(health?.facts[0]?.gpuUuid).toBe(gpus[7]?.uuid);
  }, WAIT);
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  expect(await exit).toEqual([0, null]);
  expect(complaints).toBe("");
  expect(await fake.alive()).toEqual([]);
});

it("says under an older Node which one it needs", async () => {
  // The version is all that is older: a Node that really is may not be on this machine.
  const older = path.join(dataDir, "older.cjs");
  const versions = "{ ...process.versions, node: '22.4.0' }";
  await writeFile(older, `Object.defineProperty(process, "versions", { value: ${versions} });`);
  await expect(run(process.execPath, ["--require", older, file])).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^node-agent: needs Node 26 or newer, and this is v\S+\n$/),
  });
});
