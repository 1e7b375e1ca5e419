import type { OperationDocument } from "@berth/proto";
import { isJsonObject } from "@berth/service-kit";
import { askAgent, parsed } from "../allocation/agent-asking.ts";
import type { AgentApi, ClusterBlocks, FleetBlocks } from "../fleet/agent-api.ts";

/** What operations are watched through. */
export interface OperationWatchDeps {
  readonly agents: AgentApi;
  readonly blocks: FleetBlocks;
}

/** An operation, and the cluster that does it. */
export interface WatchedOperation {
  readonly clusterId: string;
  readonly operationId: string;
}

const ASK_TIMEOUT_MS = 5_000;
/** A view that tells nothing of an operation for so long is helped by asking, ms. */
const ASK_INTERVAL_MS = 2_000;

/** Whether nothing more happens to an operation by itself. */
export function isSettled({ state }: Pick<OperationDocument, "state">): boolean {
  return state !== "running" && state !== "undoing";
}

/**
 * Waits for what a cluster tells: gives the first answer of `look` that is not undefined, which is asked at each change of
 * the cluster's blocks. Undefined when the time is over. Rejects with the signal's reason.
 */
export async function untilTold<T>(
  blocks: FleetBlocks,
  {
    clusterId,
    look,
  }: {
    readonly clusterId: string;
    readonly look: (told: ClusterBlocks | undefined) => T | undefined;
  },
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<T | undefined> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<T | undefined>();
  const tell = () => {
    const found = look(blocks.of(clusterId));
    if (found !== undefined) resolve(found);
  };
  const onAbort = () => reject(signal.reason);
  const timer = setTimeout(() => resolve(undefined), timeoutMs);
  signal.addEventListener("abort", onAbort, { once: true });
  const end = blocks.onChange((changed) => {
    if (changed === clusterId) tell();
  });
  try {
    tell();
    return await promise;
  } finally {
    end();
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

/**
 * The operation once it is settled, or as it is when the time is over; undefined when nobody tells of it. By what the
 * cluster tells of itself, and by asking when that says nothing. Rejects with the signal's reason.
 */
export async function settledOperation(
  { agents, blocks }: OperationWatchDeps,
  { clusterId, operationId }: WatchedOperation,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<OperationDocument | undefined> {
  const endsAtMs = performance.now() + timeoutMs;
  let last: OperationDocument | undefined;
  const look = (told: ClusterBlocks | undefined) => {
    const operation = told?.operations.get(operationId);
    last = operation ?? last;
    return operation !== undefined && isSettled(operation) ? operation : undefined;
  };
  for (;;) {
    const leftMs = Math.max(0, endsAtMs - performance.now());
    const wait = { timeoutMs: Math.min(leftMs, ASK_INTERVAL_MS), signal };
    const found = await untilTold(blocks, { clusterId, look }, wait);
    if (found !== undefined) return found;
    const asked = await helped({ agents, blocks }, { clusterId, operationId }, signal);
    if (asked.kind === "unknown") return undefined;
    if (asked.kind === "told") last = asked.operation;
    if (last !== undefined && isSettled(last)) return last;
    if (performance.now() >= endsAtMs) return last;
  }
}

/** Asks for an operation that the view of a live cluster does not have. */
async function helped(
  { agents, blocks }: OperationWatchDeps,
  { clusterId, operationId }: WatchedOperation,
  signal: AbortSignal,
): Promise<ToldOperation> {
  const told = blocks.of(clusterId);
  if (told?.isLive !== true || told.operations.has(operationId)) return { kind: "silent" };
  return askedOperation(agents, { clusterId, operationId }, signal);
}

/** What an agent says of an operation when it is asked. */
export type ToldOperation =
  | { readonly kind: "told"; readonly operation: OperationDocument }
  | { readonly kind: "unknown" }
  | { readonly kind: "silent" };

/** Asks an agent for an operation. Rejects only with the signal's reason. */
export async function askedOperation(
  agents: AgentApi,
  { clusterId, operationId }: WatchedOperation,
  signal: AbortSignal,
): Promise<ToldOperation> {
  const path = `/operations/${encodeURIComponent(operationId)}`;
  const options = { timeoutMs: ASK_TIMEOUT_MS, signal };
  const asked = await askAgent(agents, { clusterId, method: "GET", path }, options);
  if (asked.kind === "refused" && asked.refusal.reason === "NOT_FOUND") return { kind: "unknown" };
  if (asked.kind !== "done") return { kind: "silent" };
  const body = parsed(asked.bodyJson);
  const operation = isJsonObject(body) ? body.data : undefined;
  if (!isJsonObject(operation)) return { kind: "silent" };
  return { kind: "told", operation: operation as unknown as OperationDocument };
}
