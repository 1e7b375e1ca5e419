import type { ClusterMetrics } from "@berth/proto";

/** A cluster's metrics under the names that policies within a cluster of the existing deployment read. */
export interface PolicyMetrics {
  readonly clusterId: string;
  /** As in the global metrics; small. */
  readonly cluster: ClusterMetrics["cluster"];
  readonly cluster_metrics: ClusterMetrics["cluster"];
  readonly node_metrics: ClusterMetrics["nodes"];
}

/**
 * The metrics as pre-check policies get them, as `cluster_metrics` and from `settings["get_metrics"]()`. The nodes are there
 * once only: a policy returns its whole input, which has a limit.
 */
export function policyMetrics({ clusterId, cluster, nodes }: ClusterMetrics): PolicyMetrics {
  return { clusterId, cluster, cluster_metrics: cluster, node_metrics: nodes };
}
