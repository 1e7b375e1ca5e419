import type { ClusterDocument, ClusterMetrics } from "@berth/proto";
import { BerthError, type DocumentStore, parseLossless, plainOf, Serial } from "@berth/service-kit";
import type { NodeRegistry } from "../nodes/node-registry.ts";
import { clusterMetrics } from "../telemetry/aggregate-metrics.ts";
import { nodeEntry } from "../telemetry/node-entry.ts";
import { nodeMetrics } from "../telemetry/node-metrics.ts";
import { clusterDocument } from "./cluster-document.ts";
import { type DeclaredCluster, updateDeclaredCluster } from "./declared-cluster.ts";
import { withDeclared } from "./declared-nodes.ts";
import { checkPolicyMap } from "./hook-repair.ts";

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

/** What an update would do. */
export interface ClusterChange {
  readonly before: DeclaredCluster;
  readonly after: DeclaredCluster;
}

/** Decides on an update just before it is done: gives what is to be done instead, or rejects with why it may not be done. */
export type GovernUpdate = (
  change: ClusterChange,
) => Promise<
  { readonly kind: "as_asked" } | { readonly kind: "instead"; readonly update: unknown }
>;

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
  /** The newest document, which is looked at far more often than it changes. */
  #made: { readonly version: string; readonly document: ClusterDocument } | undefined;

  constructor(options: ClusterOptions, stored: DeclaredCluster | undefined) {
    this.#options = options;
    this.#declared = stored ?? options.defaults;
    this.#stored = stored !== undefined;
  }

  get id(): string {
    return this.#options.clusterId;
  }

  /** `config.actionsPolicyMap`: which policy governs which action; plain JSON. */
  get policyMap(): unknown {
    return plainOf(this.#declared.config.actionsPolicyMap);
  }

  /** Changes exactly when {@link document} may have changed. */
  get documentVersion(): string {
    const { nodes, baseUrl } = this.#options;
    return `${this.#declaredVersion}/${nodes.structureVersion}/${baseUrl()}`;
  }

  /** The cluster document as it is now; declared numbers may be `RawNumber`s. */
  document(): ClusterDocument {
    if (this.#options.nodes.isDue) return this.#make();
    const version = this.documentVersion;
    if (this.#made?.version !== version) this.#made = { version, document: this.#make() };
    return this.#made.document;
  }

  /** Metrics of the cluster and of each node as they are now. */
  metrics(): ClusterMetrics {
    return clusterMetrics(this.#options.clusterId, this.#options.nodes.views().map(nodeMetrics));
  }

  /**
   * Applies a client's update, durable when it resolves, with numbers as they were written; INVALID_ARGUMENT names what
   * does not hold. `govern` is asked about what it would do, and no other update is done meanwhile.
   */
  update(update: unknown, govern?: GovernUpdate): Promise<ClusterDocument> {
    return this.#serial.run(async () => {
      const after = this.#updated(update);
      const verdict = await govern?.({ before: this.#declared, after });
      const changed = verdict?.kind === "instead" ? this.#updated(verdict.update) : after;
      await this.#save(changed);
      this.#declared = changed;
      this.#declaredVersion += 1;
      return this.document();
    });
  }

  #make(): ClusterDocument {
    const { nodes } = this.#options;
    return clusterDocument({
      clusterId: this.#options.clusterId,
      declared: this.#declared,
      nodes: nodes.views().map((view) => withDeclared(nodeEntry(view), nodes.roster.get(view.id))),
      baseUrl: this.#options.baseUrl(),
    });
  }

  #updated(update: unknown): DeclaredCluster {
    const after = updateDeclaredCluster(this.#declared, update);
    checkPolicyMap(this.#declared, after);
    return after;
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
