import { BerthError, type DuplicateVerdict, type Reason } from "@berth/service-kit";
import type { CheckedRegistration } from "./check-fingerprint.ts";
import type { Liveness } from "./liveness.ts";
import type { NodeRecord } from "./node-view.ts";

/** Lets a node's reports in until a newer registration ends it. */
export interface Registration {
  readonly nodeId: string;
  /** Random UUID that every report carries. */
  readonly id: string;
  /** Aborted when a newer registration of the node replaces this one. */
  readonly ended: AbortSignal;
}

/** An expected refusal, as the error table names it. */
export interface Refused {
  readonly kind: "refused";
  readonly reason: Reason;
  /** For people: which id, and what was expected. */
  readonly message: string;
}

/** Result of a registration. */
export type RegisterOutcome =
  | { readonly kind: "registered"; readonly registration: Registration }
  | Refused;

/** Most nodes of one cluster. */
export const MAX_NODES = 10_000;

/**
 * Why a node id cannot be registered by this machine, or undefined when it can: a known id belongs to the
 * machine that took it first, and there are at most {@link MAX_NODES} of them.
 */
export function placeRefusal(
  asked: CheckedRegistration,
  known: { readonly record: NodeRecord; readonly liveness: Liveness } | undefined,
  nodeCount: number,
): Refused | undefined {
  if (known === undefined) {
    if (nodeCount < MAX_NODES) return undefined;
    const message = `node_id: the cluster has ${MAX_NODES} nodes, no more are taken`;
    return { kind: "refused", reason: "OVERLOADED", message };
  }
  const { record, liveness } = known;
  if (record.machineId === asked.inventory.machineId) return undefined;
  const why =
    liveness === "live"
      ? "is held by another live machine; choose another BERTH_NODE_ID"
      : `belongs to another machine until an operator removes it (\`berth delete node ${asked.nodeId}\`)`;
  const message = `node_id: node ${JSON.stringify(asked.nodeId)} ${why}`;
  return { kind: "refused", reason: "ALREADY_EXISTS", message };
}

/** What an agent is told that is not let in beside another one of its node; undefined when it is let in. */
export function duplicateRefusal(node: string, verdict: DuplicateVerdict): Refused | undefined {
  if (verdict === "taken") return undefined;
  const id = JSON.stringify(node);
  if (verdict === "wait") {
    const message = `node_id: the other agent of node ${id} may still be there; try again`;
    return { kind: "refused", reason: "UNAVAILABLE", message };
  }
  const message =
    verdict === "duplicate"
      ? `node_id: two agents run as node ${id}; both are refused until an operator picks one (GET /nodes/${node}/duplicates, POST /nodes/${node}/pick)`
      : `node_id: an operator has picked another agent as node ${id}; give this machine a state directory and a BERTH_NODE_ID of its own, and enrol it`;
  return { kind: "refused", reason: "ALREADY_EXISTS", message };
}

/** NOT_FOUND for a node that nobody knows. */
export function unknownNode(id: string): BerthError {
  return new BerthError("NOT_FOUND", `no node ${JSON.stringify(id)}`);
}

/** PRECONDITION_FAILED for a node that cannot be removed while its agent is connected; says how it can. */
export function connectedNode(id: string): BerthError {
  const how = `?force=true (\`berth delete node ${id} --force\`)`;
  const message = `the agent of node ${JSON.stringify(id)} is connected; stop it first, or cut it off with ${how}`;
  return new BerthError("PRECONDITION_FAILED", message);
}
