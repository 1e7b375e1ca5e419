import type { ClusterDocument } from "@berth/proto";
import { BerthError, isJsonObject } from "@berth/service-kit";
import type { ClusterChange } from "../cluster/cluster.ts";
import { updateDeclaredCluster } from "../cluster/declared-cluster.ts";
import { checkPolicyMap, isHookRepair } from "../cluster/hook-repair.ts";
import type { Onboarded } from "../nodes/onboarded-entry.ts";
import type { PolicyMetrics } from "../prechecks/policy-metrics.ts";
import type { PreChecker } from "../prechecks/pre-checker.ts";
import { objectOf } from "./governed-action.ts";
import { changedEntry } from "./node-admission.ts";

/** One instance on a node that is to be removed, as pre-checks see it. */
export interface NodeInstance {
  readonly blockId: string;
  readonly instanceId: string;
  readonly nodeId: string;
}

/** What pre-checks of actions on the cluster are made from. */
export interface ClusterGovernorDeps {
  readonly clusterId: string;
  readonly prechecks: Pick<PreChecker, "check">;
  readonly clusterDocument: () => ClusterDocument;
  readonly clusterMetrics: () => PolicyMetrics;
  /** What runs on a node. */
  readonly instancesOn: (nodeId: string) => readonly NodeInstance[];
}

/**
 * Lets the cluster's pre-check policies decide on its nodes and its document. Everything rejects with PRECHECK_DENIED
 * when it may not be done, and with POLICY_FAILED when a policy has changed it to what does not hold; gives denials that
 * only warn.
 */
export class ClusterGovernor {
  readonly #deps: ClusterGovernorDeps;

  constructor(deps: ClusterGovernorDeps) {
    this.#deps = deps;
  }

  /** A node is onboarded: gives its entry as it is to be kept, JSON text. */
  async addNode(
    { id, entry }: Onboarded,
    signal: AbortSignal,
  ): Promise<{ readonly entryJson: string; readonly warnings: readonly string[] }> {
    const { warnings, changed = JSON.stringify(entry) } = await this.#deps.prechecks.check({
      ...{ hook: "add_node", about: `node/${id}`, signal },
      input: () => ({ node_data: entry, ...this.#clusterFacts() }),
      accept: (item) => changedEntry(id, item),
    });
    return { entryJson: changed, warnings };
  }

  /** A node is removed, or forgotten. */
  async removeNode(nodeId: string, signal: AbortSignal): Promise<readonly string[]> {
    const { warnings } = await this.#deps.prechecks.check({
      ...{ hook: "remove_node", about: `node/${nodeId}`, signal },
      input: () => ({
        node_id: nodeId,
        ...this.#clusterFacts(),
        block_instances: this.#deps.instancesOn(nodeId),
      }),
      accept: () => {
        throw new BerthError("INVALID_ARGUMENT", "node_id: a policy cannot change it");
      },
    });
    return warnings;
  }

  /** A node is cordoned or uncordoned: a command of the cluster's management. */
  async manageNode(
    action: "cordon-node" | "uncordon-node",
    nodeId: string,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { warnings } = await this.#deps.prechecks.check({
      ...{ hook: "cluster_mgmt", about: `node/${nodeId}`, signal },
      input: () => ({
        cluster_data: this.#deps.clusterDocument(),
        input: { action, payload: { node_id: nodeId } },
      }),
      accept: () => {
        throw new BerthError("INVALID_ARGUMENT", "input: there is nothing to change in it");
      },
    });
    return warnings;
  }

  /**
   * The cluster is updated: gives the update that is to be done; the same one when its policy changes nothing, and when
   * what the policy makes of a repair of itself does not hold: that is told only.
   */
  async updateCluster(
    update: unknown,
    { before, after }: ClusterChange,
    signal: AbortSignal,
  ): Promise<{ readonly update: unknown; readonly warnings: readonly string[] }> {
    const { changed = update, warnings } = await this.#deps.prechecks.check({
      ...{ hook: "update_cluster", about: `cluster/${this.#deps.clusterId}`, signal },
      input: () => ({
        cluster_data: this.#deps.clusterDocument(),
        input: update,
        updated_cluster_data: { id: this.#deps.clusterId, ...after },
      }),
      accept: (item) => {
        refuseDocument(item);
        checkPolicyMap(before, updateDeclaredCluster(before, item));
        return item;
      },
      passesFailure: isHookRepair(before, after),
    });
    return { update: changed, warnings };
  }

  #clusterFacts() {
    const { clusterDocument, clusterMetrics } = this.#deps;
    return { cluster_data: clusterDocument(), cluster_metrics: clusterMetrics() };
  }
}

/** A policy that returns `cluster_data` alone has changed no update. */
function refuseDocument(changed: unknown): void {
  const fields = objectOf(changed, "input");
  if (isJsonObject(fields.cluster_data)) {
    throw new BerthError("INVALID_ARGUMENT", "input: expected the update, got the cluster");
  }
}
