import { describe, expect, it } from "vitest";
import { clusterRow, gpuRow, nodeRow } from "../testing/fleet-view-server.ts";
import { byUse, summaryOf } from "./top-summary.ts";

describe("summaryOf", () => {
  it("sums clusters up, measurements only of those that are heard", () => {
    const silent = clusterRow({ id: "c3", status: "unreachable", healthy_nodes: 0, free_gpus: 0 });
    const summary = summaryOf("clusters", [
      clusterRow({ gpus: 8, gpu_utilization: 100 }),
      clusterRow({ id: "c2", gpus: 24, gpu_utilization: 20, power: null }),
      silent,
    ]);
    expect(summary).toEqual({
      counts: [
        "3 clusters (2 live, 1 unreachable)",
        "6 nodes (4 healthy)",
        "48 GPUs (24 free, 0 unhealthy)",
      ],
      // (8 x 100 + 24 x 20) / 32
      gpuUtilization: 40,
      gpuMemory: { used: 655_360, total: 2_621_440 },
      cores: { used: 25.6, total: 256 },
      memory: { used: 262_144, total: 1_048_576 },
      power: 3200,
      simulated: "none",
    });
  });

  it("sums nodes up", () => {
    const rows = [nodeRow({ simulated: true }), nodeRow({ id: "n2", cpu_utilization: null })];
    expect(summaryOf("nodes", rows)).toMatchObject({
      counts: ["2 nodes (2 healthy)", "16 GPUs (12 free, 0 unhealthy)"],
      cores: { used: 6.4, total: 128 },
      simulated: "some",
    });
  });

  it("sums GPUs up, and knows of no cores", () => {
    const failed = gpuRow({
      id: "1",
      state: "unhealthy",
      utilization: null,
      memory_used: null,
      power: null,
    });
    expect(
      summaryOf("gpus", [gpuRow({ power: 300 }), gpuRow({ utilization: 63, power: 600 }), failed]),
    ).toEqual({
      counts: ["3 GPUs (2 free, 1 unhealthy)"],
      gpuUtilization: 50,
      gpuMemory: { used: 40_960, total: 163_840 },
      cores: { used: undefined, total: undefined },
      memory: { used: undefined, total: undefined },
      power: 900,
      simulated: "none",
    });
  });

  it("knows nothing of nothing", () => {
    expect(summaryOf("clusters", [])).toMatchObject({
      counts: ["0 clusters", "0 nodes (0 healthy)", "0 GPUs"],
      gpuUtilization: undefined,
      power: undefined,
    });
  });
});

describe("byUse", () => {
  it("puts the busiest first and what is not known last, ties by name", () => {
    const gpu = (id: string, utilization: number | null) => gpuRow({ id, utilization });
    const rows = [gpu("0", null), gpu("10", 5), gpu("9", 5), gpu("3", 80)];
    expect(byUse("gpus", rows).map((row) => row.id)).toEqual(["3", "9", "10", "0"]);
  });
});
