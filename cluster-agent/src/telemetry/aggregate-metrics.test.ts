import type { GpuMetrics, NodeMetrics } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { aggregateMetrics, clusterMetrics } from "./aggregate-metrics.ts";

function gpu(position: number, values: Partial<GpuMetrics>): GpuMetrics {
  const id = String(position);
  return { gpu_id: position, id, uuid: `GPU-${id}`, state: "free", quality: "measured", ...values };
}

function node(id: string, values: Partial<NodeMetrics>): NodeMetrics {
  return {
    id,
    node_id: id,
    status: "healthy",
    age_ms: 0,
    quality: "measured",
    memory: {},
    vcpu: {},
    storage: {},
    network: {},
    gpus: [],
    free_gpus: 0,
    ...values,
  };
}

const a = node("a", {
  memory: { freeMem: 100, usedMem: 50, averageUtil: 20 },
  vcpu: { load15m: 1, load_15m: 1, utilization: 10, totalProcesses: 10, count: 8 },
  storage: { freeMem: 1, disks: { memory: { freeMem: 1, maxDisk: 10, minDisk: 5 } } },
  network: { txBytesTotal: 1, ifaces: { txBytesTotal: 1 } },
  gpus: [gpu(0, { totalMem: 80, usedMem: 40, temperature: 30, cudaUtilization: 100 })],
  free_gpus: 1,
});
const b = node("b", {
  memory: { freeMem: 200, usedMem: 50, averageUtil: 40 },
  vcpu: { load15m: 2, load_15m: 2, utilization: 30, totalProcesses: 20, count: 4 },
  storage: { freeMem: 1, disks: { memory: { freeMem: 1, maxDisk: 20, minDisk: 7 } } },
  network: { txBytesTotal: 2, ifaces: { txBytesTotal: 2 } },
  gpus: [
    gpu(0, { totalMem: 80, usedMem: 10, temperature: 60, cudaUtilization: 10 }),
    gpu(1, { totalMem: 80, usedMem: 10, temperature: 90, cudaUtilization: 10 }),
    gpu(2, { totalMem: 80, usedMem: 10, state: "unhealthy" }),
  ],
  free_gpus: 2,
});
const dead = node("dead", {
  status: "unhealthy",
  memory: { freeMem: 9_999, averageUtil: 99 },
  gpus: [gpu(0, { totalMem: 9_999 })],
});

describe("aggregateMetrics", () => {
  it("averages averages, sums sizes and counts, takes extremes, and leaves dead nodes out", () => {
    expect(aggregateMetrics([a, b, dead])).toEqual({
      memory: { freeMem: 300, usedMem: 100, averageUtil: 30 },
      vcpu: { load15m: 1.5, load_15m: 1.5, utilization: 20, totalProcesses: 30, count: 12 },
      storage: {
        freeMem: 2,
        "disks.memory.freeMem": 2,
        "disks.memory.maxDisk": 20,
        "disks.memory.minDisk": 5,
      },
      network: { txBytesTotal: 3, "ifaces.txBytesTotal": 3 },
      gpu: {
        totalMem: 320,
        totalUsedMem: 70,
        avgTemperature: 60,
        avgCudaUtilization: 40,
        count: 4,
        free_gpus: 3,
        unhealthy_gpus: 1,
      },
    });
  });

  it("has no GPU group without GPUs and no key that no node knows", () => {
    expect(aggregateMetrics([node("x", { memory: { freeMem: 1 } })])).toEqual({
      memory: { freeMem: 1 },
      vcpu: {},
      storage: {},
      network: {},
    });
  });

  it("averages over the nodes that know a value, not over all", () => {
    const silent = node("c", {});
    expect(aggregateMetrics([a, b, silent]).vcpu?.load15m).toBe(1.5);
  });

  it("gives exactly the same for every order of nodes", () => {
    const nodes = [0.1, 0.2, 0.3, 1e9, 7e-9, 12.7].map((value, index) =>
      node(`n${index}`, { memory: { freeMem: value, averageUtil: value } }),
    );
    const expected = aggregateMetrics(nodes);
    for (let turn = 1; turn < nodes.length; turn += 1) {
      const turned = [...nodes.slice(turn), ...nodes.slice(0, turn)];
      expect(aggregateMetrics(turned)).toEqual(expected);
      expect(aggregateMetrics(turned.reverse())).toEqual(expected);
    }
  });

  it("undoes the addition of a node by its removal", () => {
    expect(aggregateMetrics([a, b].filter((item) => item !== b))).toEqual(aggregateMetrics([a]));
  });
});

describe("clusterMetrics", () => {
  it("lists every node, dead ones with their status", () => {
    const document = clusterMetrics("c1", [a, dead]);
    expect(document.clusterId).toBe("c1");
    expect(document.nodes.map((item) => item.status)).toEqual(["healthy", "unhealthy"]);
    expect(document.cluster.memory?.freeMem).toBe(100);
  });
});
