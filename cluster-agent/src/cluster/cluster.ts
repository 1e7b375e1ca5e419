import type { ClusterDocument, ClusterMetrics } from "@berth/proto";
import { BerthError, type DocumentStore, parseLossless, Serial } from "@berth/service-kit";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { clusterMetrics } from "../telemetry/aggregate-metrics.ts";
import { nodeEntry } from "../telemetry/node-entry.ts";
import { nodeMetrics } from "../telemetry/node-metrics.ts";
import { clusterDocument } from "./cluster-document.ts";
import { type DeclaredCluster, updateDeclaredCluster } from "./declared-cluster.ts";

const COLLECTION = "declared_clusters";

/** What is declared, as its text, so that numbers stay as they were written; older versions stored it as it is. */
type StoredDeclared = string | DeclaredCluster;

/** What {@link openCluster} needs. */
export interface ClusterOptions {
  readonly clusterId: string;
  readonly orgId: string;
  readonly store: DocumentStore;
  readonly nodes: NodeRegistry;
  /** What the cluster declares when the store knows nothing yet. */
  readonly defaults: DeclaredCluster;
  /** URL of the agent's REST surface; asked anew each time, as the port may not be open yet. */
  readonly baseUrl: () => string;
}

/** Opens the cluster with what the store says it declares. */
export async function openCluster(options: ClusterOptions): Promise<Cluster> {
  const key = { orgId: options.orgId, collection: COLLECTION, id: options.clusterId };
  const stored = (await options.store.get<StoredDeclared>(key))?.body;
  const declared = typeof stored === "string" ? (parseLossless(stored) as DeclaredCluster) : stored;
  return new Cluster(options, declared);
}

/** The cluster: declared fields that are kept in the store, and what its nodes make of it. */
export class Cluster {
  readonly #options: ClusterOptions;
  readonly #serial = new Serial();
  #declared: DeclaredCluster;
  #stored: boolean;
  #declaredVersion = 0;

  constructor(options: ClusterOptions, stored: DeclaredCluster | undefined) {
    this.#options = options;
    this.#declared = stored ?? options.defaults;
    this.#stored = stored !== undefined;
  }

  get id(): string {
    return this.#options.clusterId;
  }

  /** Changes exactly when {@link document} may have changed. */
  get documentVersion(): string {
    const { nodes, baseUrl } = this.#options;
    return `${this.#declaredVersion}/${nodes.structureVersion}/${baseUrl()}`;
  }

  /** The cluster document as it is now; declared numbers may be `RawNumber`s. */
  document(): ClusterDocument {
    return clusterDocument({
      clusterId: this.#options.clusterId,
      declared: this.#declared,
      nodes: this.#options.nodes.views().map(nodeEntry),
      baseUrl: this.#options.baseUrl(),
    });
  }

  /** Metrics of the cluster and of each node as they are now. */
  metrics(): ClusterMetrics {
    return clusterMetrics(this.#options.clusterId, this.#options.nodes.views().map(nodeMetrics));
  }

  /** Applies a client's update, durable when it resolves, with numbers as they were written; INVALID_ARGUMENT names what does not hold. */
  update(update: unknown): Promise<ClusterDocument> {
    return this.#serial.run(async () => {
      const changed = updateDeclaredCluster(this.#declared, update);
      await this.#save(changed);
      this.#declared = changed;
      this.#declaredVersion += 1;
      return this.document();
    });
  }

  async #save(declared: DeclaredCluster): Promise<void> {
    const body: StoredDeclared = JSON.stringify(declared);
    const { orgId, clusterId: id, store } = this.#options;
    const kind = this.#stored ? "replace" : "insert";
    const outcome = await store.apply([{ kind, key: { orgId, collection: COLLECTION, id }, body }]);
    if (outcome.kind === "refused") {
      throw new BerthError("INTERNAL", `the cluster was not written: ${outcome.why}`);
    }
    this.#stored = true;
  }
}
