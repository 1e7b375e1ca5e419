import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type GpuSample, Quality } from "@berth/proto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type FakeSmiRun, fakeSmiRun } from "./testing/fake-smi-run.ts";
import { type NodeServer, startNodeServer } from "./testing/node-server.ts";

const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));
const SECRET = "t".repeat(43);
const WAIT = { timeout: 10_000, interval: 50 };

let fake: FakeSmiRun;
let server: NodeServer;
let dataDir = "";
let agent: ChildProcess | undefined;
let output = "";

function begin(env: Record<string, string> = {}): ChildProcess {
  output = "";
  const child = spawn(process.execPath, [MAIN], {
    stdio: ["pipe", "pipe", "pipe"],
    env: {
      ...fake.env,
      BERTH_SUPERVISED: "1",
      BERTH_DATA_DIR: dataDir,
      BERTH_CLUSTER_AGENT_URL: `http://127.0.0.1:${server.port}`,
      BERTH_ENROLMENT_TOKEN: `berth1.${SECRET}`,
      BERTH_NVIDIA_SMI: fake.smi.command,
      BERTH_METRICS_PORT: "0",
      ...env,
    },
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  agent = child;
  return child;
}

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(os.tmpdir(), "berth-node-main-"));
  fake = await fakeSmiRun("h100");
  server = await startNodeServer({ secret: SECRET });
});

afterEach(async () => {
  agent?.kill("SIGKILL");
  server.kill();
  await fake.dispose();
  await rm(dataDir, { recursive: true, force: true });
});

const isMeasured = (sample: GpuSample) => sample.quality === Quality.MEASURED;

const sampling = () =>
  vi.waitFor(() => {
    const measured = server.reports.some((report) => report.gpus.filter(isMeasured).length === 8);
    expect(measured).toBe(true);
  }, WAIT);

it("leaves no nvidia-smi behind when it is killed with SIGKILL", async () => {
  const child = begin();
  await sampling();
  expect(await fake.alive()).toHaveLength(1);
  child.kill("SIGKILL");
  await vi.waitFor(async () => expect(await fake.alive()).toEqual([]), WAIT);
});

it("works without metrics when another program has their port, and names the setting", async () => {
  const other = createServer();
  other.listen(0, "127.0.0.1");
  await once(other, "listening");
  try {
    const { port } = other.address() as AddressInfo;
    begin({ BERTH_METRICS_PORT: String(port) });
    await sampling();
    expect(output).toContain('"level":"warn"');
    expect(output).toContain(`port ${port} on 127.0.0.1 is taken by another program`);
    expect(output).toContain("set BERTH_METRICS_PORT to another port");
  } finally {
    other.close();
  }
});

it("stops in order on SIGTERM: exit code 0, no process left", async () => {
  const child = begin();
  await sampling();
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  expect(await exit).toEqual([0, null]);
  expect(await fake.alive()).toEqual([]);
});

it("stops when its supervisor is gone", async () => {
  const child = begin();
  await sampling();
  const exit = once(child, "exit");
  child.stdin?.end();
  expect(await exit).toEqual([0, null]);
  expect(await fake.alive()).toEqual([]);
});

it("ends with code 1 and one clear line when the token is malformed", async () => {
  const child = begin({ BERTH_ENROLMENT_TOKEN: "no-token" });
  const [code] = await once(child, "close");
  expect(code).toBe(1);
  expect(output).toMatch(/^node-agent: BERTH_ENROLMENT_TOKEN: expected an enrolment token/m);
  expect(output).not.toContain("no-token");
});
