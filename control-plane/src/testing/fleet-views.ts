import type { GpuEntry, GpuMetrics, NodeEntry, NodeMetrics } from "@berth/proto";
import type { ClusterHealth, ClusterView, FleetSnapshot } from "../fleet/cluster-view.ts";
import { reportedMetrics } from "../fleet/reported-metrics.ts";
import { aDocument, aGpu, someMetrics } from "./documents.ts";

/** A node of {@link viewOf}: its part of the document and what it tells. */
export interface TestNode {
  readonly entry: NodeEntry;
  readonly metrics: NodeMetrics | undefined;
}

/** A node with GPUs as its document and its metrics tell; `overrides` change the metrics of all GPUs. */
export function testNode(
  id: string,
  gpus: readonly GpuEntry[] = [],
  overrides: Partial<GpuMetrics> = {},
): TestNode {
  const [entry] = aDocument("c", gpus).nodes.nodeData;
  if (entry === undefined) throw new Error("a document has a node");
  const told = gpus.map((gpu, slot): GpuMetrics => {
    const { uuid, state } = gpu;
    const reading = { usedMem: 1_000, freeMem: 14_360, totalMem: 15_360, cudaUtilization: 50 };
    const more = { temperature: 40, powerUtilization: 60, age_ms: 200, ...overrides };
    return { gpu_id: slot, id: gpu.id, uuid, state, quality: "measured", ...reading, ...more };
  });
  const metrics = someMetrics({ id, node_id: id, gpus: told, age_ms: 100 });
  return { entry: { ...entry, id }, metrics };
}

/** A view of a cluster with these nodes; telemetry came at 1,000 ms. */
export function viewOf(
  id: string,
  nodes: readonly TestNode[],
  health: ClusterHealth = "live",
): ClusterView {
  const nodeData = nodes.map(({ entry }) => entry);
  const gpus = nodeData.flatMap((entry) => entry.gpus.gpus);
  const document = { ...aDocument(id, gpus), nodes: { count: nodeData.length, nodeData } };
  const told = nodes.map(({ metrics }) => metrics).filter((metrics) => metrics !== undefined);
  const metrics = reportedMetrics({ clusterId: id, cluster: {}, nodes: told }, health);
  return {
    ...{ id, orgId: "default_org", health, document, metrics, revision: 1 },
    documentJson: JSON.stringify(document),
    metricsJson: JSON.stringify(metrics),
    nodes: new Map(told.map((node) => [node.id, node])),
    nodesAtMs: new Map(told.map((node) => [node.id, 1_000])),
    reportedAtMs: 900,
  };
}

/** A fleet of these clusters. */
export function fleetOf(...views: readonly ClusterView[]): FleetSnapshot {
  const ordered = views.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  return { revision: 1, clusters: new Map(ordered.map((view) => [view.id, view])) };
}

/** Free GPUs for tests, whose ids are slots. */
export function someGpus(count: number, overrides: Partial<GpuEntry> = {}): readonly GpuEntry[] {
  return Array.from({ length: count }, (_, slot) => aGpu(String(slot), overrides));
}

/** Does a work with pauses without any. */
export function runThrough<T>(work: Generator<unknown, T>): T {
  for (let step = work.next(); ; step = work.next()) if (step.done === true) return step.value;
}
