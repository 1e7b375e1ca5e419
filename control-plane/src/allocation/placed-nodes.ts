import type { GpuState } from "@berth/proto";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { slotOf } from "./slot-of.ts";

/** A node as the document of its cluster has it. */
export type NodeEntry = ClusterView["document"]["nodes"]["nodeData"][number];

/** A GPU of a node. */
export interface Slot {
  /** A decimal string. */
  readonly id: string;
  readonly state: GpuState | undefined;
}

/** How far the nodes of a cluster have been looked through. */
interface SeenNodes {
  readonly rest: Iterator<NodeEntry>;
  readonly byId: Map<string, NodeEntry>;
}

/** The nodes and GPUs that one result names: each cluster and each node is looked through once, and only as far as needed. */
export class PlacedNodes {
  readonly #clusters = new Map<ClusterView, SeenNodes>();
  readonly #slots = new Map<NodeEntry, ReadonlyMap<string, Slot>>();

  /** The first node of that id; undefined when there is none. */
  find(cluster: ClusterView, nodeId: string): NodeEntry | undefined {
    const seen = this.#seen(cluster);
    const known = seen.byId.get(nodeId);
    if (known !== undefined) return known;
    for (let next = seen.rest.next(); next.done !== true; next = seen.rest.next()) {
      const { id } = next.value;
      if (!seen.byId.has(id)) seen.byId.set(id, next.value);
      if (id === nodeId) return next.value;
    }
    return undefined;
  }

  /** GPUs of a node by slot and by UUID; a UUID that is another GPU's slot names that one. */
  slots(node: NodeEntry): ReadonlyMap<string, Slot> {
    let slots = this.#slots.get(node);
    if (slots === undefined) {
      slots = slotsOf(node.gpus?.gpus ?? []);
      this.#slots.set(node, slots);
    }
    return slots;
  }

  #seen(cluster: ClusterView): SeenNodes {
    let seen = this.#clusters.get(cluster);
    if (seen === undefined) {
      seen = { rest: cluster.document.nodes.nodeData.values(), byId: new Map() };
      this.#clusters.set(cluster, seen);
    }
    return seen;
  }
}

function slotsOf(
  gpus: readonly { readonly id?: unknown; readonly uuid?: unknown; readonly state?: GpuState }[],
): ReadonlyMap<string, Slot> {
  const slots = new Map<string, Slot>();
  const known = gpus.map((gpu, index) => ({ id: slotOf(gpu, index), state: gpu.state }));
  for (const slot of known) slots.set(slot.id, slot);
  for (const [index, slot] of known.entries()) {
    const uuid = gpus[index]?.uuid;
    if (typeof uuid === "string" && uuid !== "" && !slots.has(uuid)) slots.set(uuid, slot);
  }
  return slots;
}
