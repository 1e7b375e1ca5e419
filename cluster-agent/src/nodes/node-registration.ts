import type { Reason } from "@berth/service-kit";
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

/**
 * Why a known node id cannot be registered again, or undefined when it can. The id belongs to the
 * machine that took it first. Of one machine's agents the one that started last wins: an older start is
 * refused while the newest one may still be there; once that one is lost the lower number is taken
 * in, because the agent's state directory may have been made anew.
 */
export function registrationRefusal(
  known: { readonly record: NodeRecord; readonly liveness: Liveness },
  asked: CheckedRegistration,
): Refused | undefined {
  const { record, liveness } = known;
  if (record.machineId !== asked.inventory.machineId) {
    const why =
      liveness === "live"
        ? "is held by another live machine; choose another BERTH_NODE_ID"
        : "belongs to another machine until an operator removes it from the cluster";
    const message = `node_id: node ${JSON.stringify(asked.nodeId)} ${why}`;
    return { kind: "refused", reason: "ALREADY_EXISTS", message };
  }
  if (asked.incarnation < record.incarnation && liveness !== "telemetry_lost") {
    const newest = `a newer agent of node ${JSON.stringify(asked.nodeId)} has registered`;
    const message = `node_incarnation: ${newest} (${record.incarnation}), got ${asked.incarnation}`;
    return { kind: "refused", reason: "CONFLICT", message };
  }
  return undefined;
}
