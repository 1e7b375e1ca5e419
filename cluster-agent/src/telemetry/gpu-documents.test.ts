import {
  GpuSampleSchema,
  GpuTopologySchema,
  HealthClass,
  MigDeviceInfoSchema,
  Quality,
} from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { NodeView } from "../nodes/node-view.ts";
import { fingerprint, gpuSample, healthReport, registerRequest } from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import { nodeEntry } from "./node-entry.ts";
import { nodeMetrics } from "./node-metrics.ts";
import { nodeStatus } from "./node-status.ts";

/** Two GPUs that an NVLink joins; the first is cut into one part. */
function twoGpus() {
  const print = fingerprint({ gpus: ["GPU-1", "GPU-2"] });
  print.gpuTopology = create(GpuTopologySchema, {
    nics: ["mlx5_0"],
    rows: [
      { uuid: "GPU-1", links: ["X", "NV18", "PIX"], cpuAffinity: "0-7", numaAffinity: "0" },
      { uuid: "GPU-2", links: ["NV18", "X", "SYS"] },
    ],
  });
  const part = create(MigDeviceInfoSchema, { uuid: "MIG-1", profile: "3g.20gb", memoryMib: 99n });
  for (const gpu of print.gpus.slice(0, 1))
    Object.assign(gpu, { migEnabled: true, migDevices: [part] });
  return print;
}

async function opened(print = twoGpus()) {
  const registry = await testRegistry();
  const registration = await registered(registry.nodes, registerRequest({ fingerprint: print }));
  const view = (): NodeView => {
    const found = registry.nodes.view("node-a");
    if (found === undefined) throw new Error("the node is not there");
    return found;
  };
  return { ...registry, registration, view };
}

async function sampled(...samples: MessageInitShape<typeof GpuSampleSchema>[]) {
  const { nodes, registration, view } = await opened();
  for (const sample of samples) {
    await nodes.report(registration, { gpus: [gpuSample("GPU-1", sample)] });
  }
  return nodeMetrics(view()).gpus[0];
}

describe("the cluster document", () => {
  it("tells address, parts, affinity and topology of GPUs", async () => {
    const { view } = await opened();
    const { gpus } = nodeEntry(view());
    expect(gpus.gpus[0]).toEqual({
      id: "0",
      uuid: "GPU-1",
      modelName: "NVIDIA H100 80GB HBM3",
      memory: 81_920,
      state: "free",
      pciBusId: "00000000:00:00.0",
      migEnabled: true,
      migDevices: [{ uuid: "MIG-1", index: 0, profile: "3g.20gb", memory: 99 }],
      cpuAffinity: "0-7",
      numaAffinity: "0",
    });
    expect(gpus.gpus[1]).not.toHaveProperty("cpuAffinity");
    expect(gpus.topology).toEqual({
      nics: ["mlx5_0"],
      links: [
        ["X", "NV18", "PIX"],
        ["NV18", "X", "SYS"],
      ],
    });
  });

  it("has the topology in slot order, with empty paths for a GPU that is gone", async () => {
    const { nodes, view } = await opened(fingerprint({ gpus: ["GPU-0", "GPU-2", "GPU-1"] }));
    expect(nodeEntry(view()).gpus).not.toHaveProperty("topology");
    await registered(nodes, registerRequest({ fingerprint: twoGpus() }));
    expect(nodeEntry(view()).gpus.topology?.links).toEqual([
      ["", "", "", ""],
      ["", "X", "NV18", "SYS"],
      ["", "NV18", "X", "PIX"],
    ]);
  });

  it("says which nodes are simulated, and no other", async () => {
    const print = twoGpus();
    expect(nodeEntry((await opened(print)).view())).not.toHaveProperty("simulated");
    print.simulated = true;
    const { view } = await opened(print);
    expect(nodeEntry(view()).simulated).toBe(true);
    expect(nodeMetrics(view()).simulated).toBe(true);
    expect(nodeStatus(view()).simulated).toBe(true);
  });
});

describe("metrics of a GPU", () => {
  it("tell clocks, limits, programs, parts and ECC", async () => {
    const details = {
      quality: Quality.MEASURED,
      eccCorrectedTotal: 2n,
      processes: [{ pid: 7, name: "python3", memoryUsedMib: 5n, instanceId: "i-1" }],
      migDevices: [{ uuid: "MIG-1", memoryUsedMib: 3n }],
    };
    const values = { powerLimitW: 700, smClockMhz: 1_980, memoryClockMhz: 2_619 };
    const throttleReasons = ["sw_power_cap"];
    const gpu = await sampled({ ...values, eccUncorrectedTotal: 0n, throttleReasons, details });
    expect(gpu).toMatchObject({
      powerLimit: 700,
      smClock: 1_980,
      memClock: 2_619,
      eccUncorrected: 0,
      eccCorrected: 2,
      throttleReasons,
      processes: [{ pid: 7, name: "python3", usedMem: 5, instance_id: "i-1" }],
      migDevices: [{ uuid: "MIG-1", usedMem: 3 }],
      details_age_ms: 0,
    });
  });

  it("have nothing of details that are too old", async () => {
    const processes = [{ pid: 7, name: "python3" }];
    const migDevices = [{ uuid: "MIG-1" }];
    const details = { quality: Quality.STALE, eccCorrectedTotal: 2n, processes, migDevices };
    const gpu = await sampled({ details });
    for (const name of ["processes", "migDevices", "eccCorrected", "details_age_ms"]) {
      expect(gpu).not.toHaveProperty(name);
    }
  });

  it("have no programs while the driver has told none, and a list when it told that there are none", async () => {
    expect(await sampled({})).not.toHaveProperty("processes");
    const told = { details: { quality: Quality.MEASURED } };
    expect((await sampled(told))?.processes).toEqual([]);
    const untold = { details: { quality: Quality.UNAVAILABLE } };
    expect(await sampled(untold)).not.toHaveProperty("processes");
  });

  it("take power and throttle reasons of the details where samples never tell them", async () => {
    const details = { quality: Quality.MEASURED, powerW: 71, throttleReasons: ["gpu_idle"] };
    const silent = gpuSample("GPU-1");
    delete silent.powerW;
    const { nodes, registration, view } = await opened();
    await nodes.report(registration, { gpus: [gpuSample("GPU-1", { details })] });
    expect(nodeMetrics(view()).gpus[0]).toMatchObject({
      powerUtilization: 300,
      throttleReasons: ["gpu_idle"],
    });
    await nodes.report(registration, { gpus: [silent] });
    expect(nodeMetrics(view()).gpus[0]?.powerUtilization).toBe(71);
    await nodes.report(registration, {
      gpus: [gpuSample("GPU-2", { throttleReasons: ["sw_power_cap"] })],
    });
    expect(nodeMetrics(view()).gpus[0]).not.toHaveProperty("throttleReasons");
  });

  it("have no values of the details as of now while the GPU cannot be read", async () => {
    const details = { quality: Quality.MEASURED, powerW: 71, throttleReasons: ["gpu_idle"] };
    const { nodes, registration, view } = await opened();
    await nodes.report(registration, { gpus: [gpuSample("GPU-1", { details })] });
    const unreadable = create(GpuSampleSchema, { uuid: "GPU-1", quality: Quality.UNAVAILABLE });
    await nodes.report(registration, { gpus: [unreadable] });
    const [gpu] = nodeMetrics(view()).gpus;
    expect(gpu).toMatchObject({ state: "unhealthy", quality: "unavailable" });
    expect(gpu).not.toHaveProperty("powerUtilization");
    expect(gpu).not.toHaveProperty("throttleReasons");
    expect(nodeMetrics(view()).gpu).not.toHaveProperty("avgPowerUtilization");
  });

  it("tell at most 8 facts, the gravest first, and those about no slot with the node", async () => {
    const { nodes, registration, view } = await opened();
    const mild = Array.from({ length: 9 }, (_none, at) => {
      return { factId: `mild/${at}`, healthClass: HealthClass.INFO };
    });
    const ofNode = { factId: "sxid/1", gpuUuid: "", kind: "sxid", code: 12_028 };
    const health = healthReport(...mild, {}, ofNode);
    await nodes.report(registration, { gpus: [], health });
    const metrics = nodeMetrics(view());
    expect(metrics.gpus[0]).toMatchObject({ state: "unhealthy", health: "hardware" });
    expect(metrics.gpus[0]?.healthFacts).toHaveLength(8);
    expect(metrics.gpus[0]?.healthFacts?.[0]).toEqual({
      fact_id: "boot-1/7",
      kind: "xid",
      class: "hardware",
      code: 79,
      evidence:
        "NVRM: Xid (PCI:0000:41:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
      holds: false,
      age_ms: 1_000,
    });
    expect(metrics.healthFacts?.map(({ fact_id }) => fact_id)).toEqual(["sxid/1"]);
    expect(metrics.kernelLog).toBe("measured");
    expect(metrics.gpus[1]).not.toHaveProperty("health");
  });
});

describe("the status of a node", () => {
  it("tells state, health and reason of GPUs", async () => {
    const { nodes, registration, view } = await opened();
    await nodes.report(registration, { gpus: [], health: healthReport({}) });
    const status = nodeStatus(view());
    expect(status).not.toHaveProperty("reason");
    expect(status.gpus).toMatchObject([
      {
        id: 0,
        state: "unhealthy",
        health: "hardware",
        reason: "XID 79: GPU has fallen off the bus",
      },
      { id: 1, state: "free" },
    ]);
  });

  it("tells for how long a node is silent, while its other documents stay as they are", async () => {
    const { nodes, registration, view, clock } = await opened();
    await nodes.report(registration, { gpus: [gpuSample("GPU-1")] });
    clock.advance(21_500);
    const words = "telemetry lost: silent for 21 s";
    expect(nodeStatus(view())).toMatchObject({
      status: "unhealthy",
      reason: words,
      gpus: [
        { state: "unhealthy", reason: words },
        { state: "unhealthy", reason: words },
      ],
    });
    const steady = "telemetry lost: silent for more than 15 s";
    expect(nodeMetrics(view())).toMatchObject({ reason: steady, gpus: [{ reason: steady }, {}] });
    expect(nodeEntry(view()).gpus.gpus[0]?.reason).toBe(steady);
  });
});
