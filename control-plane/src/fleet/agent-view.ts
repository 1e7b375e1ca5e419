import type { AggregateMetrics, NodeMetrics } from "@berth/proto";
import type { ClusterView } from "./cluster-view.ts";
import { reportedJson, reportedMetrics } from "./reported-metrics.ts";

/** A cluster's groups as its agent told them. */
export interface ToldAggregate {
  readonly json: string;
  readonly aggregate: AggregateMetrics;
}

/** A node as its agent told it. */
export interface ToldNode {
  readonly json: string;
  readonly metrics: NodeMetrics;
  /** When it came. */
  readonly atMs: number;
}

/**
 * The view of a cluster with what its nodes tell, which are given in the order of their ids. Of a large cluster that
 * is much, every telemetry makes a new view, and few look at all of it: each part is made when one does.
 */
export function agentView(
  view: Omit<ClusterView, "metrics" | "metricsJson" | "nodes" | "nodesAtMs">,
  nodes: readonly ToldNode[],
  aggregate: ToldAggregate | undefined,
): ClusterView {
  const metrics = metricsOf(view, nodes, aggregate);
  let text: string | undefined;
  let byId: ClusterView["nodes"] | undefined;
  let atMs: ClusterView["nodesAtMs"] | undefined;
  return {
    ...view,
    metrics,
    get metricsJson() {
      if (metrics === null || aggregate === undefined) return null;
      text ??= reportedJson(
        metrics,
        aggregate.json,
        nodes.map((node) => node.json),
      );
      return text;
    },
    get nodes() {
      byId ??= new Map(nodes.map((node) => [node.metrics.id, node.metrics]));
      return byId;
    },
    get nodesAtMs() {
      atMs ??= new Map(nodes.map((node) => [node.metrics.id, node.atMs]));
      return atMs;
    },
  };
}

function metricsOf(
  { id, health }: Pick<ClusterView, "id" | "health">,
  nodes: readonly ToldNode[],
  aggregate: ToldAggregate | undefined,
): ClusterView["metrics"] {
  if (aggregate === undefined) return null;
  const { aggregate: cluster } = aggregate;
  const told = nodes.map((node) => node.metrics);
  return reportedMetrics({ clusterId: id, cluster, nodes: told }, health);
}
