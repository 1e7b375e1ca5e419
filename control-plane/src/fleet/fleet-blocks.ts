import type { Clock, Logger } from "@berth/service-kit";
import type { ClusterBlocks, FleetBlocks } from "./agent-api.ts";
import type { AgentCluster } from "./agent-cluster.ts";
import type { AgentClusters } from "./agent-clusters.ts";

/** What {@link AgentBlocks} looks at. */
export interface AgentBlocksDeps {
  readonly clusters: Pick<AgentClusters, "find" | "all" | "onBlocksChange">;
  /** Org of all agents. */
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The blocks of the fleet as its agents told them: see {@link FleetBlocks}. */
export class AgentBlocks implements FleetBlocks {
  readonly #deps: AgentBlocksDeps;
  readonly #listeners = new Set<(clusterId: string) => void>();
  /** Clusters whose change is not told yet. */
  readonly #changed = new Set<string>();

  constructor(deps: AgentBlocksDeps) {
    this.#deps = deps;
    deps.clusters.onBlocksChange((clusterId) => this.#note(clusterId));
  }

  of(clusterId: string): ClusterBlocks | undefined {
    const { clusters, orgId } = this.#deps;
    const cluster = clusters.find(orgId, clusterId);
    return cluster === undefined || cluster.blocks.isEmpty ? undefined : this.#view(cluster);
  }

  all(): readonly ClusterBlocks[] {
    return this.#views(({ blocks }) => !blocks.isEmpty);
  }

  withBlock(blockId: string): readonly ClusterBlocks[] {
    return this.#views(({ blocks }) => blocks.hasBlock(blockId));
  }

  onChange(listener: (clusterId: string) => void): () => void {
    const own = (clusterId: string) => listener(clusterId);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  #views(isWanted: (cluster: AgentCluster) => boolean): readonly ClusterBlocks[] {
    const { clusters, orgId } = this.#deps;
    const wanted = clusters.all().filter((one) => one.orgId === orgId && isWanted(one));
    return wanted.sort((a, b) => (a.id < b.id ? -1 : 1)).map((cluster) => this.#view(cluster));
  }

  #view(cluster: AgentCluster): ClusterBlocks {
    const isLive = cluster.health === "live";
    return cluster.blocks.at(this.#deps.clock.nowMs(), { clusterId: cluster.id, isLive });
  }

  #note(clusterId: string): void {
    if (this.#listeners.size === 0) return;
    this.#changed.add(clusterId);
    if (this.#changed.size === 1) setImmediate(() => this.#tell());
  }

  #tell(): void {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const clusterId of changed) {
      for (const listener of [...this.#listeners]) {
        try {
          listener(clusterId);
        } catch (err) {
          this.#deps.logger.error("a listener of blocks has failed", { err });
        }
      }
    }
  }
}
