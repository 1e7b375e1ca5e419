import type { ClusterDocument } from "@berth/proto";
import { BerthError, type Clock, isBerthError } from "@berth/service-kit";
import type { CheckedRegistration } from "../nodes/check-fingerprint.ts";
import { joiningNode } from "../nodes/joining-node.ts";
import type { NodeRoster } from "../nodes/node-roster.ts";
import type { NodeView } from "../nodes/node-view.ts";
import { checkOnboarded, declaredNode } from "../nodes/onboarded-entry.ts";
import type { PolicyMetrics } from "../prechecks/policy-metrics.ts";
import type { PreChecker } from "../prechecks/pre-checker.ts";
import { nodeEntry } from "../telemetry/node-entry.ts";

/** Resolves when a node may ask to join; rejects with why it may not. */
export type AdmitNode = (asked: CheckedRegistration, signal: AbortSignal) => Promise<void>;

/** What {@link nodeAdmission} decides from. */
export interface NodeAdmissionDeps {
  readonly prechecks: Pick<PreChecker, "check">;
  readonly nodes: {
    view(id: string): NodeView | undefined;
    readonly roster: Pick<NodeRoster, "get" | "step">;
  };
  readonly clusterDocument: () => ClusterDocument;
  readonly clusterMetrics: () => PolicyMetrics;
  readonly clock: Clock;
}

/**
 * Asks the pre-check `add_node` when a node joins for the first time, with its entry as its agent observes it and with what
 * was said of it when it was onboarded. A node that is refused asks again later: PRECONDITION_FAILED, so that its agent
 * does not take it for a fault of its key. Of what a policy changes only `tags` and `nodeMetadata` count: the rest is observed.
 */
export function nodeAdmission(deps: NodeAdmissionDeps): AdmitNode {
  const { prechecks, nodes, clock } = deps;
  return async (asked, signal) => {
    const { nodeId } = asked;
    const stands = nodes.roster.get(nodeId);
    // One that only Kubernetes has told of was asked about when it was onboarded, not as its agent observes it.
    const known = nodes.view(nodeId);
    const hasJoined = known !== undefined && !known.isReportedOnly;
    if (hasJoined || stands?.state === "removed") return;
    const input = () => {
      const entry = nodeEntry(joiningNode(asked, clock.timestamp()));
      const { tags, nodeMetadata } = declaredNode(stands?.entryJson);
      return {
        node_data: { ...entry, tags, nodeMetadata: { ...nodeMetadata, ...entry.nodeMetadata } },
        cluster_data: deps.clusterDocument(),
        cluster_metrics: deps.clusterMetrics(),
      };
    };
    try {
      const about = `node/${nodeId}`;
      const accept = (item: unknown) => changedEntry(nodeId, item);
      const checked = { hook: "add_node", about, input, accept, signal } as const;
      const { changed: entryJson } = await prechecks.check(checked);
      if (entryJson === undefined) return;
      await nodes.roster.step(nodeId, { kind: "onboard", entryJson });
    } catch (thrown) {
      if (!isBerthError(thrown) || !REFUSALS.includes(thrown.reason)) throw thrown;
      throw new BerthError("PRECONDITION_FAILED", thrown.message, { cause: thrown });
    }
  };
}

const REFUSALS = ["PRECHECK_DENIED", "POLICY_FAILED"];

/** The entry of a node as a policy has changed it, JSON text. INVALID_ARGUMENT when it does not hold or is another node's. */
export function changedEntry(nodeId: string, item: unknown): string {
  const { id, entry } = checkOnboarded(item);
  if (id === nodeId) return JSON.stringify(entry);
  throw new BerthError("INVALID_ARGUMENT", "node_data.id: a policy cannot change it");
}
