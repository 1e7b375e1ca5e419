import { Quality } from "@berth/proto";
import { describe, expect, it } from "vitest";
import type { NodeView } from "../nodes/node-view.ts";
import { fingerprint, gpuSample, hostSample, registerRequest } from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import { nodeEntry } from "./node-entry.ts";
import { nodeMetrics } from "./node-metrics.ts";
import { nodeStatus } from "./node-status.ts";

async function viewed(
  report: (uuid: string) => Parameters<typeof gpuSample>[1],
  silentMs = 0,
): Promise<NodeView> {
  const { nodes, clock } = await testRegistry();
  const request = registerRequest({ fingerprint: fingerprint({ gpus: ["GPU-1", "GPU-2"] }) });
  const registration = await registered(nodes, request);
  const gpus = ["GPU-1", "GPU-2"].map((uuid) => gpuSample(uuid, report(uuid)));
  await nodes.report(registration, { host: hostSample(), gpus });
  clock.advance(silentMs);
  const view = nodes.view("node-a");
  if (view === undefined) throw new Error("the node is not there");
  return view;
}

async function viewedBare(): Promise<NodeView> {
  const { nodes } = await testRegistry();
  await registered(nodes, registerRequest());
  const view = nodes.view("node-a");
  if (view === undefined) throw new Error("the node is not there");
  return view;
}

describe("nodeEntry", () => {
  it("lists GPUs in slot order with sums and states", async () => {
    const hung = { quality: Quality.UNAVAILABLE };
    const entry = nodeEntry(await viewed((uuid) => (uuid === "GPU-2" ? hung : {})));
    expect(entry).toMatchObject({
      id: "node-a",
      free_gpus: 1,
      vcpus: { count: 16 },
      memory: 64_000,
      swap: 8_000,
      storage: { disks: 1, size: 100_000 },
      network: { interfaces: 2, txBandwidth: 10_000, rxBandwidth: 10_000 },
      gpus: {
        count: 2,
        memory: 163_840,
        modelNames: ["NVIDIA H100 80GB HBM3"],
        gpus: [
          { id: "0", uuid: "GPU-1", memory: 81_920, state: "free" },
          { id: "1", uuid: "GPU-2", memory: 81_920, state: "unhealthy" },
        ],
      },
    });
  });

  it("has no free GPU on a node whose telemetry is lost", async () => {
    const entry = nodeEntry(await viewed(() => ({}), 15_001));
    expect(entry.free_gpus).toBe(0);
    expect(entry.gpus.gpus.map((gpu) => gpu.state)).toEqual(["unhealthy", "unhealthy"]);
  });

  it("is whole for a node without GPUs and without samples", async () => {
    const entry = nodeEntry(await viewedBare());
    expect(entry.gpus).toEqual({ count: 0, memory: 0, gpus: [], features: [], modelNames: [] });
  });
});

describe("nodeMetrics", () => {
  it("has the keys and the units that existing clients read", async () => {
    const metrics = nodeMetrics(await viewed(() => ({})));
    expect(metrics).toMatchObject({
      id: "node-a",
      node_id: "node-a",
      status: "healthy",
      age_ms: 5,
      quality: "measured",
      memory: { freeMem: 48_000, usedMem: 16_000, averageUtil: 25, usedSwap: 0, freeSwap: 8_000 },
      vcpu: { count: 16, utilization: 25, load1m: 1, load15m: 3, load_15m: 3, totalProcesses: 200 },
      storage: {
        freeMem: 55_000,
        usedMem: 40_000,
        disks: { memory: { freeMem: 55_000, usedMem: 40_000, maxDisk: 100_000, minDisk: 100_000 } },
      },
      network: { txBytesTotal: 1_000, rxBytesTotal: 2_000, ifaces: { txBytesTotal: 1_000 } },
      gpu: {
        totalMem: 163_840,
        totalUsedMem: 16_384,
        totalFreeMem: 147_456,
        avgMemUtilization: 10,
        avgCudaUtilization: 50,
        avgPowerUtilization: 300,
        avgTemperature: 40,
        count: 2,
      },
      free_gpus: 2,
    });
    expect(metrics.gpus[1]).toEqual({
      gpu_id: 1,
      id: "1",
      uuid: "GPU-2",
      state: "free",
      usedMem: 8_192,
      freeMem: 73_728,
      totalMem: 81_920,
      memUtilization: 10,
      cudaUtilization: 50,
      powerUtilization: 300,
      temperature: 40,
      memBandwidthUtilization: 20,
      quality: "measured",
      age_ms: 5,
    });
  });

  it("invents nothing before the first sample", async () => {
    const metrics = nodeMetrics(await viewedBare());
    expect(metrics).toMatchObject({
      quality: "unavailable",
      memory: {},
      vcpu: { count: 16 },
      storage: { disks: { memory: { maxDisk: 100_000, minDisk: 100_000 } } },
      network: { ifaces: {} },
      gpus: [],
    });
    expect(metrics).not.toHaveProperty("gpu");
    expect(metrics.memory).not.toHaveProperty("freeMem");
  });

  it("is unhealthy and stale, with its last values and their age, when the node is lost", async () => {
    const metrics = nodeMetrics(await viewed(() => ({}), 20_000));
    expect(metrics).toMatchObject({ status: "unhealthy", quality: "stale", age_ms: 20_005 });
    expect(metrics.memory.usedMem).toBe(16_000);
  });
});

describe("nodeStatus", () => {
  it("has the shape of the seed's stability example", async () => {
    const status = nodeStatus(await viewed(() => ({})));
    expect(status).toEqual({
      node_id: "node-a",
      status: "healthy",
      cpu_utilization_percent: 25,
      memory: { total: 64_000, allocatable: 48_000, usage_percent: 25 },
      disk: {
        total: 100_000,
        allocatable: 55_000,
        usage_percent: expect.closeTo((100 * 40) / 95, 6),
      },
      gpus: [
        { id: 0, utilization: 50, memory: { total: 81_920, usage_percent: 10 }, state: "free" },
        { id: 1, utilization: 50, memory: { total: 81_920, usage_percent: 10 }, state: "free" },
      ],
    });
  });

  it("says null for what no sample has told yet", async () => {
    expect(nodeStatus(await viewedBare())).toMatchObject({
      cpu_utilization_percent: null,
      memory: { total: 64_000, allocatable: null, usage_percent: null },
      disk: { total: 100_000, allocatable: null, usage_percent: null },
      gpus: [],
    });
  });
});
