import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { HealthClass, Quality } from "@berth/proto";
import { type Part, silentLogger, startAll, stopAll } from "@berth/service-kit/base";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { composeNodeAgent, type NodeAgentReplacements } from "./compose.ts";
import { GPU_TIMINGS } from "./gpu/gpu-timings.ts";
import { LINK_TIMINGS } from "./report/node-link.ts";
import { type FakeSmiRun, fakeSmiRun } from "./testing/fake-smi-run.ts";
import { type NodeServer, startNodeServer } from "./testing/node-server.ts";

const SECRET = "t".repeat(43);
const WAIT = { timeout: 8_000, interval: 20 };
const FAST: NodeAgentReplacements = {
  gpuTimings: { ...GPU_TIMINGS, restartFirstMs: 20, relistMs: 200 },
  // A busy machine may take longer than the grace of production to start what plays nvidia-smi.
  linkTimings: { ...LINK_TIMINGS, gpuGraceMs: 8_000, backoff: { firstMs: 20, capMs: 100 } },
  kernelLogTimings: { pollMs: 20, reopenMs: 50 },
};

let fake: FakeSmiRun;
let server: NodeServer;
let dataDir = "";
let kernelLog = "";
let parts: readonly Part[] = [];

async function begin() {
  const config = {
    dataDir,
    clusterAgentUrl: `http://127.0.0.1:${server.port}`,
    enrolmentToken: `berth1.${SECRET}`,
    caFile: "",
    nodeId: "node-1",
    nvidiaSmi: "nvidia-smi",
    kernelLog,
    metricsPort: 0,
    metricsHost: "127.0.0.1",
    allowedHosts: [],
    allowedOrigins: [],
  };
  parts = composeNodeAgent(config, silentLogger, { ...FAST, smi: fake.smi });
  await startAll(parts, silentLogger);
}

/** Ends the agent and starts another one on its state, whose reports alone are looked at then. */
async function restart() {
  await stopAll(parts, silentLogger);
  server.reports.splice(0);
  await begin();
}

const newest = () => server.reports.findLast(({ health }) => health !== undefined)?.health;
const fingerprint = () => server.registrations[0]?.fingerprint;

/** The address of a GPU as the kernel log spells it. */
function place(slot: number): string {
  const address = fingerprint()?.gpus[slot]?.pciBusId.toLowerCase() ?? "";
  return address.replace(/^0000(.*)\.0$/, "PCI:$1");
}

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(os.tmpdir(), "berth-node-health-"));
  kernelLog = path.join(dataDir, "kernel-log");
  fake = await fakeSmiRun("h100");
  server = await startNodeServer({ secret: SECRET });
});

afterEach(async () => {
  await stopAll(parts, silentLogger);
  server.kill();
  await fake.dispose();
  await rm(dataDir, { recursive: true, force: true });
});

it("puts health into the first report of each stream, and says when XIDs cannot be seen", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(3), WAIT);
  expect(server.reports[0]?.health).toMatchObject({ kernelLog: Quality.UNAVAILABLE, facts: [] });
  expect(server.reports.slice(1).every(({ health }) => health === undefined)).toBe(true);
  server.endStreams("the test wants it");
  await vi.waitFor(() => {
    const again = server.reports.find((one) => one.registrationId === "registration-2");
    expect(again?.health?.kernelLog).toBe(Quality.UNAVAILABLE);
  }, WAIT);
});

it("calls no GPU unreadable before its first reading, which comes with its details, nor after a kill", async () => {
  await begin();
  const sent = () => server.reports.flatMap(({ gpus }) => gpus);
  const allRead = () => expect(new Set(sent().map(({ uuid }) => uuid)).size).toBe(8);
  await vi.waitFor(allRead, WAIT);
  expect(server.reports[0]?.gpus).toEqual([]);
  const firsts = new Map(
    sent()
      .toReversed()
      .map((sample) => [sample.uuid, sample]),
  );
  expect([...firsts.values()].every(({ details }) => details !== undefined)).toBe(true);
  await restart();
  await vi.waitFor(allRead, WAIT);
  expect(sent().map(({ quality }) => quality)).not.toContain(Quality.UNAVAILABLE);
});

it("tells of an XID with its GPU, under the same id after a restart of the agent", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  await writeFile(kernelLog, `3,77,1,-;NVRM: Xid (${place(2)}): 31, pid=7, name=train\n`);
  const expected = {
    factId: `${fingerprint()?.identity?.bootId}/77`,
    gpuUuid: fingerprint()?.gpus[2]?.uuid,
    kind: "xid",
    code: 31,
    healthClass: HealthClass.APPLICATION,
    holds: false,
  };
  await vi.waitFor(() => expect(newest()?.facts).toMatchObject([expected]), WAIT);
  expect(newest()?.kernelLog).toBe(Quality.MEASURED);
  await restart();
  await vi.waitFor(() => expect(server.reports[0]?.health?.facts).toMatchObject([expected]), WAIT);
});

it("tells of a GPU that fell off the bus, also by an agent that never saw it, until it is back", async () => {
  await begin();
  await vi.waitFor(() => expect(server.reports.length).toBeGreaterThan(1), WAIT);
  const gpuUuid = fingerprint()?.gpus[7]?.uuid;
  const healthClass = HealthClass.HARDWARE;
  const expected = { kind: "fallen_off_bus", gpuUuid, healthClass, holds: true };
  await fake.play("h100-7");
  await vi.waitFor(() => expect(newest()?.facts).toMatchObject([expected]), WAIT);
  await restart();
  await vi.waitFor(() => expect(newest()?.facts).toMatchObject([expected]), WAIT);
  await fake.play("h100");
  await vi.waitFor(() => expect(newest()?.facts).toEqual([]), WAIT);
});
