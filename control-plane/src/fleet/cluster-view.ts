import type { ClusterDocument, ClusterMetrics, ClusterTotals, NodeMetrics } from "@berth/proto";

/**
 * What the control-plane knows of a cluster's agent: "live" reports, "unreachable" has been silent for
 * its TTL, "unknown" was registered by REST and has no agent.
 */
export type ClusterHealth = "live" | "unreachable" | "unknown";

/** What a cluster's agent tells, and beside it the totals over its healthy nodes and the health. */
export interface ReportedMetrics extends ClusterMetrics, ClusterTotals {
  readonly health: ClusterHealth;
}

/** One cluster at one moment. Immutable: a change makes a new view, so a decision can keep its own. */
export interface ClusterView {
  readonly id: string;
  readonly orgId: string;
  readonly health: ClusterHealth;
  /** The cluster document; free keys of agentless clusters are kept. */
  readonly document: ClusterDocument;
  /** The document as JSON text, numbers as its owner wrote them. */
  readonly documentJson: string;
  /** {@link ReportedMetrics} as JSON text; null when no agent has reported any. */
  readonly metricsJson: string | null;
  /** The same as a value, for queries. */
  readonly metrics: ReportedMetrics | null;
  /** Nodes that report, by id. */
  readonly nodes: ReadonlyMap<string, NodeMetrics>;
  /** When the metrics of each node came, by its id, in ms of this process's monotonic clock. */
  readonly nodesAtMs: ReadonlyMap<string, number>;
  /** When its newest telemetry was measured, on the same clock; null when none was ever taken in. */
  readonly reportedAtMs: number | null;
  /** Raised at each change of this view in this process. */
  readonly revision: number;
}

/** All clusters of an org at one moment. */
export interface FleetSnapshot {
  /** Raised at each change of any cluster, in this process. */
  readonly revision: number;
  /** By id, in the order of the ids. */
  readonly clusters: ReadonlyMap<string, ClusterView>;
}
