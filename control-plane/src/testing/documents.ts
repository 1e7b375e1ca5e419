import type { ClusterDocument, GpuEntry, NodeMetrics } from "@berth/proto";
import type { ClusterHealth, ClusterView } from "../fleet/cluster-view.ts";
import { reportedMetrics } from "../fleet/reported-metrics.ts";

/** A GPU for tests: slot `id`, free unless said otherwise. */
export function aGpu(id: string, overrides: Partial<GpuEntry> = {}): GpuEntry {
  return {
    id,
    uuid: `GPU-${id}`,
    modelName: "NVIDIA T4",
    memory: 15_360,
    state: "free",
    ...overrides,
  };
}

/** A cluster document for tests, with one node of these GPUs. */
export function aDocument(id: string, gpus: readonly GpuEntry[] = []): ClusterDocument {
  const totals = { count: gpus.length, memory: gpus.reduce((sum, gpu) => sum + gpu.memory, 0) };
  const shared = {
    vcpus: { count: 8 },
    memory: 32_000,
    swap: 0,
    storage: { disks: 1, size: 100_000 },
    network: { interfaces: 1, txBandwidth: 1_000, rxBandwidth: 1_000 },
    tags: [],
  };
  const node = {
    id: "node-1",
    gpus: {
      ...totals,
      gpus,
      features: [],
      modelNames: [...new Set(gpus.map((gpu) => gpu.modelName))],
    },
    free_gpus: gpus.filter((gpu) => gpu.state === "free").length,
    nodeMetadata: {},
    ...shared,
  };
  return {
    id,
    regionId: "local",
    status: "live",
    nodes: { count: 1, nodeData: [node] },
    gpus: totals,
    config: {},
    clusterMetadata: { name: id },
    reputation: 100,
    ...shared,
  };
}

/** Metrics of `node-1` for tests. */
export function someMetrics(overrides: Partial<NodeMetrics> = {}): NodeMetrics {
  return {
    id: "node-1",
    node_id: "node-1",
    status: "healthy",
    age_ms: 10,
    quality: "measured",
    memory: { freeMem: 16_000, usedMem: 16_000 },
    vcpu: { load1m: 0.5 },
    storage: {},
    network: {},
    gpus: [],
    free_gpus: 0,
    ...overrides,
  };
}

/** A view of a cluster with one node, as decisions see it. */
export function aView(
  id: string,
  options: { gpus?: readonly GpuEntry[]; health?: ClusterHealth; node?: NodeMetrics } = {},
): ClusterView {
  const document = aDocument(id, options.gpus);
  const node = options.node ?? someMetrics();
  const gpu = { count: node.gpus.length, free_gpus: node.free_gpus };
  const nested = { clusterId: id, cluster: node.gpus.length === 0 ? {} : { gpu }, nodes: [node] };
  const metrics = reportedMetrics(nested, options.health ?? "live");
  return {
    id,
    orgId: "default_org",
    health: options.health ?? "live",
    document,
    documentJson: JSON.stringify(document),
    metricsJson: JSON.stringify(metrics),
    metrics,
    nodes: new Map([[node.id, node]]),
    nodesAtMs: new Map([[node.id, 0]]),
    reportedAtMs: 0,
    revision: 1,
  };
}
