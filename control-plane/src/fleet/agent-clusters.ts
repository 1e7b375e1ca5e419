import { AgentCluster } from "./agent-cluster.ts";
import type { ClusterView } from "./cluster-view.ts";
import { clusterKey } from "./session-book.ts";

/** The clusters whose agents have registered since our start. They stay known after their agent has gone. */
export class AgentClusters {
  readonly #clusters = new Map<string, AgentCluster>();
  #version = 0;

  /** Raised at each change of any view. */
  get version(): number {
    return this.#version;
  }

  /** Whether a cluster is known. */
  has(orgId: string, clusterId: string): boolean {
    return this.#clusters.has(clusterKey(orgId, clusterId));
  }

  /** The cluster, made when it is not known. */
  of(orgId: string, clusterId: string): AgentCluster {
    const key = clusterKey(orgId, clusterId);
    const known = this.#clusters.get(key);
    if (known !== undefined) return known;
    const cluster = new AgentCluster(orgId, clusterId, () => {
      this.#version += 1;
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
    if (wasKnown) this.#version += 1;
    return wasKnown;
  }
}
