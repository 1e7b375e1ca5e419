import { AgentCluster } from "./agent-cluster.ts";
import type { ClusterView } from "./cluster-view.ts";
import { clusterKey } from "./session-book.ts";

/** The clusters whose agents have registered since our start. They stay known after their agent has gone. */
export class AgentClusters {
  readonly #clusters = new Map<string, AgentCluster>();
  #onBlocksChange: (clusterId: string) => void = () => undefined;
  #version = 0;

  /** Raised at each change of any view. */
  get version(): number {
    return this.#version;
  }

  /** Whether a cluster is known. */
  has(orgId: string, clusterId: string): boolean {
    return this.#clusters.has(clusterKey(orgId, clusterId));
  }

  /** A known cluster; undefined when it is not. */
  find(orgId: string, clusterId: string): AgentCluster | undefined {
    return this.#clusters.get(clusterKey(orgId, clusterId));
  }

  /** All known clusters, in no order. */
  all(): AgentCluster[] {
    return [...this.#clusters.values()];
  }

  /** Calls back at each change of what a cluster's agent told of its blocks, and of whether it is live; one listener. */
  onBlocksChange(listener: (clusterId: string) => void): void {
    this.#onBlocksChange = listener;
  }

  /** The cluster, made when it is not known. */
  of(orgId: string, clusterId: string): AgentCluster {
    const key = clusterKey(orgId, clusterId);
    const known = this.#clusters.get(key);
    if (known !== undefined) return known;
    const cluster = new AgentCluster(orgId, clusterId, {
      onChange: () => {
        this.#version += 1;
      },
      onBlocksChange: () => this.#onBlocksChange(clusterId),
    });
    this.#clusters.set(key, cluster);
    return cluster;
  }

  /** Views of the clusters of an org that an agent has described. */
  views(orgId: string): readonly ClusterView[] {
    const views: ClusterView[] = [];
    for (const cluster of this.#clusters.values()) {
      const { view } = cluster;
      if (cluster.orgId === orgId && view !== undefined) views.push(view);
    }
    return views;
  }

  /** Forgets a cluster; gives whether it was known. */
  forget(orgId: string, clusterId: string): boolean {
    const wasKnown = this.#clusters.delete(clusterKey(orgId, clusterId));
    if (wasKnown) {
      this.#version += 1;
      this.#onBlocksChange(clusterId);
    }
    return wasKnown;
  }
}
