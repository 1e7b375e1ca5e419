import type { AggregateMetrics, GpuMetrics, NodeMetrics } from "@berth/proto";
import type { ClusterHealth, ClusterView } from "../fleet/cluster-view.ts";
import { reportedMetrics } from "../fleet/reported-metrics.ts";
import { aView, someMetrics } from "./documents.ts";

/** Metrics of one GPU for tests: what is not said is not known. */
export function gpuMetrics(slot: number, overrides: Partial<GpuMetrics> = {}): GpuMetrics {
  return {
    gpu_id: slot,
    id: String(slot),
    uuid: `GPU-${slot}`,
    state: "free",
    quality: "measured",
    ...overrides,
  };
}

/** Metrics of one node for tests: cores, their utilization in percent, and memory in MB. */
export function nodeMetrics(
  id: string,
  [cores, utilization, freeMem, usedMem]: readonly [number, number, number, number],
  overrides: Partial<NodeMetrics> = {},
): NodeMetrics {
  const vcpu = { count: cores, utilization };
  return someMetrics({ id, node_id: id, vcpu, memory: { freeMem, usedMem }, ...overrides });
}

/** A view of a cluster whose telemetry has these nodes, for tests. */
export function metricsView(
  id: string,
  nodes: readonly NodeMetrics[],
  options: {
    readonly health?: ClusterHealth;
    readonly cluster?: AggregateMetrics;
    readonly reportedAtMs?: number;
  } = {},
): ClusterView {
  const { health = "live", cluster = {}, reportedAtMs = 0 } = options;
  const metrics = reportedMetrics({ clusterId: id, cluster, nodes }, health);
  return {
    ...aView(id, { health }),
    metrics,
    metricsJson: JSON.stringify(metrics),
    nodes: new Map(nodes.map((node) => [node.id, node])),
    reportedAtMs,
  };
}
