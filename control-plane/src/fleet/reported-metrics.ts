import type { ClusterMetrics, ClusterTotals } from "@berth/proto";
import { totalsOfNodes } from "./cluster-totals.ts";
import type { ClusterHealth, ReportedMetrics } from "./cluster-view.ts";
import { withLazyTotals } from "./lazy-totals.ts";

/** Metrics with the totals over their nodes, which are worked out when one is asked for, and the health. */
export function reportedMetrics(metrics: ClusterMetrics, health: ClusterHealth): ReportedMetrics {
  let known: ClusterTotals | undefined;
  const totals = () => {
    known ??= totalsOfNodes(metrics.nodes);
    return known;
  };
  return withLazyTotals({ ...metrics, health }, totals);
}

/** The text of metrics, of which the groups and the nodes are there as texts: numbers stay as they were written. */
export function reportedJson(
  metrics: ReportedMetrics,
  clusterJson: string,
  nodesJson: readonly string[],
): string {
  const { clusterId, cluster: _cluster, nodes: _nodes, ...totals } = metrics;
  const beside = JSON.stringify(totals);
  const id = JSON.stringify(clusterId);
  return `{"clusterId":${id},"cluster":${clusterJson},"nodes":[${nodesJson.join(",")}],${beside.slice(1)}`;
}
