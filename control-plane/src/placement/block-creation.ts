import type { OperationDocument } from "@berth/proto";
import { type BerthError, isJsonObject } from "@berth/service-kit";
import { askAgent, parsed, type Refusal } from "../allocation/agent-asking.ts";
import type { AgentApi, FleetBlocks } from "../fleet/agent-api.ts";
import type { PlacementAttempt } from "./placement-record.ts";

/** What creations are asked for through. */
export interface BlockCreationDeps {
  readonly agents: AgentApi;
  readonly blocks: FleetBlocks;
}

/** What became of asking for a creation. */
export type CreationOutcome =
  | { readonly kind: "accepted"; readonly operationId: string }
  /** The cluster holds nothing of it and will not begin it. */
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** Nobody knows: to be asked again. */
  | { readonly kind: "unknown"; readonly error: Pick<BerthError, "message"> };

const TIMEOUT_MS = 10_000;

/**
 * Asks a cluster to make a block with what was leased for it. Asking again under the same key is the same creation. A
 * refusal counts only when no earlier ask may have been accepted: the cluster is asked for that one first. Rejects only with
 * the signal's reason.
 */
export async function requestCreation(
  { agents, blocks }: BlockCreationDeps,
  asked: {
    readonly attempt: PlacementAttempt;
    readonly blockId: string;
    readonly entryJson: string;
  },
  signal: AbortSignal,
): Promise<CreationOutcome> {
  const { attempt, blockId, entryJson } = asked;
  const { clusterId, operationKey, leaseIds, sends } = attempt;
  const named = `"idempotency_key":${JSON.stringify(operationKey)}`;
  const leases = leaseIds.length === 0 ? "" : `,"lease_ids":${JSON.stringify(leaseIds)}`;
  const fields = `"action":"create_block","wait":false,${named}${leases}`;
  const bodyJson = `{${fields},"block_data":${entryJson}}`;
  const request = { clusterId, method: "POST", path: "/executeAction", bodyJson } as const;
  const answer = await askAgent(agents, request, { timeoutMs: TIMEOUT_MS, signal });
  const isFirst = sends <= 1;
  if (answer.kind === "done") {
    const operationId = operationIdOf(answer.bodyJson);
    if (operationId !== undefined) return { kind: "accepted", operationId };
    const message = `cluster ${clusterId} did not name the operation that it accepted`;
    return { kind: "unknown", error: { message } };
  }
  if (answer.kind === "silent") {
    const { error, mayHaveRun } = answer;
    if (mayHaveRun || !isFirst) return { kind: "unknown", error };
    const { reason, message, details } = error;
    // What the link says of an order is not said of the block.
    const told = reason === "INVALID_ARGUMENT" ? "UNAVAILABLE" : reason;
    return { kind: "refused", refusal: { reason: told, message, details } };
  }
  const { refusal } = answer;
  if (isFirst) return { kind: "refused", refusal };
  const earlier = await earlierCreation({ agents, blocks }, { attempt, blockId }, signal);
  return earlier ?? { kind: "refused", refusal };
}

/** The creation that an earlier ask was accepted as; undefined when the cluster knows of none. */
async function earlierCreation(
  { agents, blocks }: BlockCreationDeps,
  { attempt, blockId }: { readonly attempt: PlacementAttempt; readonly blockId: string },
  signal: AbortSignal,
): Promise<CreationOutcome | undefined> {
  const { clusterId, operationKey } = attempt;
  const isOurs = ({ idempotency_key: key }: Pick<OperationDocument, "idempotency_key">) =>
    key === operationKey;
  const told = blocks.of(clusterId)?.operations.values().find(isOurs);
  if (told !== undefined) return { kind: "accepted", operationId: told.operation_id };
  const path = `/operations?block_id=${encodeURIComponent(blockId)}&limit=1000`;
  const options = { timeoutMs: TIMEOUT_MS, signal };
  const asked = await askAgent(agents, { clusterId, method: "GET", path }, options);
  if (asked.kind !== "done") {
    const message =
      asked.kind === "silent" ? asked.error.message : `refused: ${asked.refusal.message}`;
    return { kind: "unknown", error: { message } };
  }
  const body = parsed(asked.bodyJson);
  const all = isJsonObject(body) && Array.isArray(body.data) ? body.data : [];
  const ours = (all as readonly OperationDocument[]).find(isOurs);
  return ours === undefined ? undefined : { kind: "accepted", operationId: ours.operation_id };
}

function operationIdOf(bodyJson: string): string | undefined {
  const body = parsed(bodyJson);
  const { data, operation } = isJsonObject(body) ? body : {};
  const ids = [operation, data].map((one) => (isJsonObject(one) ? one.operation_id : undefined));
  return ids.find((id) => typeof id === "string");
}
