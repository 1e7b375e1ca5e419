import { parseLossless } from "@berth/service-kit";
import type { LifecycleRecord } from "../nodes/node-lifecycle.ts";
import type { NodeView } from "../nodes/node-view.ts";

/** A node as `GET /nodes` lists it: where it stands, and whether it is heard. */
export function nodeDocument(
  id: string,
  stands: LifecycleRecord,
  view: Pick<NodeView, "liveness" | "reason" | "firstSeenAt"> | undefined,
): object {
  const { state, since, operationId, entryJson } = stands;
  return {
    ...{ id, state, since },
    /** Null before it has joined, and after it was removed. */
    liveness: view?.liveness ?? null,
    ...(view?.reason === undefined ? {} : { reason: view.reason }),
    ...(view === undefined ? {} : { first_seen_at: view.firstSeenAt }),
    ...(operationId === undefined ? {} : { operation_id: operationId }),
    ...(entryJson === undefined ? {} : { node_data: parseLossless(entryJson) }),
  };
}
