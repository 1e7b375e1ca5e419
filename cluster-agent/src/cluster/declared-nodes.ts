import type { NodeEntry } from "@berth/proto";
import type { LifecycleRecord } from "../nodes/node-lifecycle.ts";
import { declaredNode } from "../nodes/onboarded-entry.ts";

/**
 * A node's entry with what people said of it when it was onboarded: its tags, and metadata that the agent does not
 * observe. `nodeMetadata.lifecycle` names the state of a node that takes nothing new.
 */
export function withDeclared(entry: NodeEntry, stands: LifecycleRecord | undefined): NodeEntry {
  if (stands === undefined) return entry;
  const { state, entryJson } = stands;
  if (state === "ready" && entryJson === undefined) return entry;
  const { tags, nodeMetadata } = declaredNode(entryJson);
  const lifecycle = state === "ready" ? {} : { lifecycle: state };
  return {
    ...entry,
    tags: [...tags],
    nodeMetadata: { ...nodeMetadata, ...entry.nodeMetadata, ...lifecycle },
  };
}
