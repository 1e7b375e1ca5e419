import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";
import { silentLogger, startAll, stopAll, systemClock } from "@berth/service-kit";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { composeSimulator, type Simulator } from "./compose.ts";

const ECHO = path.resolve(import.meta.dirname, "../../examples/blocks/echo/server.js");
const WAIT = { timeout: 20_000, interval: 100 };

let directory: string;
let simulator: Simulator;

beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), "berth-sim-blocks-"));
  await start();
});

afterEach(async () => {
  await stopAll(simulator.parts, silentLogger);
  rmSync(directory, { recursive: true, force: true });
});

/** A fleet that runs blocks; no control-plane answers it. */
async function start(): Promise<void> {
  simulator = await composeSimulator({
    config: {
      ...{ dataDir: path.join(directory, "sim"), host: "127.0.0.1", port: 0, profile: "h100" },
      ...{ load: "idle", intervalMs: 0, faults: [], controlPlaneUrl: "http://127.0.0.1:9" },
      ...{
        enrolmentToken: `berth1.${"s".repeat(43)}`,
        caFile: "",
        sandboxDir: process.env.BERTH_SANDBOX_DIR ?? "",
      },
      ...{ allowedHosts: [], allowedOrigins: [], name: "sim", fleet: "2x1x2", seed: 5 },
      clusterPorts: "open",
    },
    clock: systemClock,
    logger: silentLogger,
    process,
  });
  await startAll(simulator.parts, silentLogger);
}

async function ask(cluster: number, url: string, body?: object) {
  const to = new URL(url, simulator.clusters[cluster]?.httpUrl);
  const headers = { "content-type": "application/json" };
  const post = { method: "POST", headers, body: JSON.stringify(body) };
  const response = await fetch(to, body === undefined ? {} : post);
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any field of any answer
  return (await response.json()) as any;
}

const act = (cluster: number, fields: object) => ask(cluster, "/executeAction", fields);
const instances = async (cluster: number) =>
  (await ask(cluster, "/blocks/echo")).data.instances as {
    instance_id: string;
    gpu_uuids: string[];
    endpoints: { control: string };
    ready: boolean;
    restarts: number;
  }[];

/** Processes of this machine that run as instances of the block below the directory of this test. */
function running(): number {
  const ids = readdirSync(path.join(directory, "sim"), { recursive: true })
    .map(String)
    .filter((file) => file.endsWith("runtime-id"))
    .map((file) => readFileSync(path.join(directory, "sim", file), "utf8").trim());
  const environs = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(environ);
  return environs.filter((text) => ids.some((id) => text.includes(`BERTH_RUNTIME_ID=${id}`)))
    .length;
}

function environ(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return "";
  }
}

const ready = (cluster: number) =>
  vi.waitFor(async () => {
    const all = await instances(cluster);
    expect(all.map(({ ready: isReady }) => isReady)).toEqual([true]);
    return all;
  }, WAIT);

async function create(cluster: number): Promise<void> {
  const block_data = {
    component: { containerRegistryInfo: { command: [process.execPath, ECHO] } },
    ...{ id: "echo", resources: { gpus: 2, cpuMillis: 100, memoryMiB: 16 }, minInstances: 1 },
  };
  expect(await act(cluster, { action: "create_block", block_data })).toMatchObject({
    success: true,
  });
}

it("runs blocks as processes of this machine that see the GPUs of their simulated node", async () => {
  await Promise.all([create(0), create(1)]);
  const [first] = await ready(0);
  const [second] = await ready(1);
  const infer = await fetch(new URL("/infer", first?.endpoints.control), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"text":"hello"}',
  });
  expect(await infer.json()).toMatchObject({ data: { text: "hello", devices: first?.gpu_uuids } });
  expect(new Set([...(first?.gpu_uuids ?? []), ...(second?.gpu_uuids ?? [])]).size).toBe(4);
  expect(await act(0, { action: "remove_block", block_id: "echo" })).toMatchObject({
    success: true,
  });
  expect((await ask(0, "/allocations")).data).toEqual([]);
  expect(running()).toBe(1);
  await stopAll(simulator.parts, silentLogger);
  expect(running()).toBe(0);
});

it("has its blocks again when it starts again, on the GPUs that they had", async () => {
  await create(1);
  const [before] = await ready(1);
  await stopAll(simulator.parts, silentLogger);
  expect(running()).toBe(0);
  await start();
  const [after] = await ready(1);
  expect(after).toMatchObject({
    ...{ instance_id: before?.instance_id, gpu_uuids: before?.gpu_uuids, restarts: 1 },
  });
  await vi.waitFor(async () => {
    expect((await ask(1, "/ledger")).data).toMatchObject({ state: "open", holds: 1 });
  }, WAIT);
});
