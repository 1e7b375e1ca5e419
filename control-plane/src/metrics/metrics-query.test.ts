import { systemClock } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { gpuMetrics, metricsView, nodeMetrics } from "../testing/metrics-views.ts";
import { MetricsDocument } from "./global-metrics-document.ts";
import { compileMetricsQuery } from "./metrics-query.ts";

const view = metricsView(
  "cluster-7",
  [
    nodeMetrics("a", [64, 50, 60_000, 4_000], {
      gpus: [gpuMetrics(0, { cudaUtilization: 90, temperature: 71 })],
    }),
    nodeMetrics("b", [32, 25, 20_000, 12_000], { reason: "telemetry lost: silent for 21 s" }),
  ],
  {
    cluster: {
      storage: { freeMem: 7, "disks.memory.freeMem": 5, "freeMem.low": 1 },
      gpu: { free_gpus: 3 },
      vcpu: { load_5m: 2.5 },
    },
  },
);
const document = new MetricsDocument(view, { ...systemClock, nowMs: () => 1_500 });

function matches(filter: unknown): boolean {
  const query = compileMetricsQuery(filter, "query");
  const isMatch = query.matches(document);
  if (isMatch) expect(query.mayMatch(document)).toBe(true);
  return isMatch;
}

describe("compileMetricsQuery", () => {
  it.each<[string, object, boolean]>([
    ["everything", {}, true],
    ["an id", { clusterId: { $in: ["cluster-7", "x"] } }, true],
    ["an id by its pattern", { clusterId: { $regex: "^cluster-[0-9]$" } }, true],
    ["another id", { clusterId: "cluster-8" }, false],
    ["the health", { health: "live" }, true],
    ["the age", { age_ms: { $lt: 2_000, $gte: 1_500 } }, true],
    ["used cores", { used_cpu: 40 }, true],
    ["memory", { used_memory: { $gte: 16_000 }, total_memory: 96_000 }, true],
    ["the GPUs' utilization", { gpu_utilization: { $gt: 90 } }, false],
    ["a group", { "cluster.gpu.free_gpus": { $gte: 2 } }, true],
    ["a load in this spelling", { "cluster.vcpu.load_5m": { $lt: 2 } }, false],
    ["a flattened key", { "cluster.storage.disks.memory.freeMem": 5 }, true],
    [
      "a flattened key's pattern",
      { "cluster.storage.disks.memory.freeMem": { $regex: "5" } },
      false,
    ],
    ["a key that hides a flattened one", { "cluster.storage.freeMem": 7 }, true],
    ["a flattened key that is hidden", { "cluster.storage.freeMem.low": 1 }, false],
    ["a node", { "nodes.id": "b" }, true],
    ["a node by the in-cluster name", { "node_metrics.vcpu.count": 32 }, true],
    ["a node by its place", { "nodes.1.id": "a" }, false],
    ["a node's text", { "nodes.reason": { $regex: "telemetry lost" } }, true],
    ["a GPU", { "nodes.gpus.temperature": { $gte: 70 } }, true],
    ["no GPU", { "nodes.gpus.temperature": { $gt: 71 } }, false],
    ["one GPU of many", { "nodes.gpus.cudaUtilization": { $in: [80, 90] } }, true],
    ["what no GPU is", { "nodes.gpus.cudaUtilization": { $nin: [80, 90] } }, false],
    [
      "a node with a hot GPU",
      { nodes: { $elemMatch: { "gpus.temperature": { $gte: 70 } } } },
      true,
    ],
    ["one node with both", { nodes: { $elemMatch: { id: "b", "gpus.temperature": 71 } } }, false],
    ["any of two", { $or: [{ clusterId: "x" }, { "nodes.gpus.cudaUtilization": 90 }] }, true],
    ["none of two", { $nor: [{ clusterId: "x" }, { health: "live" }] }, false],
    ["cheap and costly", { clusterId: "cluster-7", "nodes.id": "c" }, false],
    ["what is not there", { regionId: { $exists: false } }, true],
  ])("matches %s", (_name, filter, expected) => {
    expect(matches(filter)).toBe(expected);
  });

  it.each<[string, unknown, string]>([
    ["a pipeline", [{ $match: {} }], "query: expected a filter as a JSON object, got array"],
    ["text", "x", "query: expected a filter as a JSON object, got string"],
    ["code", { $where: "1" }, 'operator "$where" is not supported'],
    ["code below a field", { nodes: { $where: "1" } }, 'operator "$where" is not supported'],
    ["an operator without a field", { $gt: 1 }, "$gt stands below a field"],
    ["a bad pattern", { clusterId: { $regex: "(" } }, "bad pattern"],
    ["a prototype", JSON.parse('{"__proto__.x":1}'), "is not a path"],
    [
      "more conditions than there may be, whichever they are",
      { clusterId: { $in: Array(6_000).fill(1) }, "nodes.id": { $in: Array(6_000).fill(1) } },
      "hold more than 10000 items",
    ],
  ])("refuses %s", (_name, filter, message) => {
    expect(() => compileMetricsQuery(filter, "query")).toThrow(message);
  });
});
