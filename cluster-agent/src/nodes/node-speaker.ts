import type { CheckedRegistration } from "./check-fingerprint.ts";
import type { Refused } from "./node-registration.ts";

/** Whom a node-agent's key speaks for, and where it dialled from. */
export interface NodeSpeaker {
  /** Node id that the key was enrolled for. */
  readonly id: string;
  /** Identity that it was enrolled with: "machine:<machine id>". */
  readonly identity: string;
  /** Address of the other end; absent where unknown. */
  readonly address?: string;
}

/** What a node id is bound to when its agent enrols. */
export function machineIdentity(machineId: string): string {
  return `machine:${machineId}`;
}

/**
 * Why a key may not register what it asks for, undefined when it may: it speaks for one node on one
 * machine, whatever a message claims.
 */
export function speakerRefusal(
  speaker: NodeSpeaker,
  asked: Pick<CheckedRegistration, "nodeId" | "inventory">,
): Refused | undefined {
  if (speaker.id !== asked.nodeId) {
    const names = `${JSON.stringify(asked.nodeId)}, the key is of ${JSON.stringify(speaker.id)}`;
    const message = `node_id: expected the node that the key was enrolled for, got ${names}`;
    return { kind: "refused", reason: "PERMISSION_DENIED", message };
  }
  if (speaker.identity !== machineIdentity(asked.inventory.machineId)) {
    const expected = "the machine that the key was enrolled on";
    const message = `fingerprint.identity.machine_id: expected ${expected}; enrol this machine under a node id of its own`;
    return { kind: "refused", reason: "PERMISSION_DENIED", message };
  }
  return undefined;
}
