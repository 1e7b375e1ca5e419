import type { GpuEntry } from "@berth/proto";
import type { ClusterBlocks } from "../fleet/agent-api.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { BlockNeed } from "./block-need.ts";

/** Whether a cluster may take a block, by what is known of it here. */
export type RoomVerdict =
  | {
      readonly kind: "may";
      readonly freeGpus: number;
      /** Part of its memory that nobody has taken. */
      readonly freeMemory: number;
    }
  | { readonly kind: "not"; readonly reason: string; readonly message: string };

/**
 * The cheap look before anybody is asked. It goes by a view that is a moment old, so it keeps away only from clusters
 * that cannot take the block: the word on what is free is the cluster's.
 */
export function roomIn(
  view: ClusterView,
  blocks: ClusterBlocks | undefined,
  need: BlockNeed,
): RoomVerdict {
  if (view.health === "unknown") return not("UNAVAILABLE", "it has no agent");
  if (view.health !== "live") return not("UNAVAILABLE", "it is unreachable");
  if (blocks?.ledger === undefined) return not("UNIMPLEMENTED", "its agent runs no blocks");
  if (!blocks.isLive) return not("UNAVAILABLE", "its agent does not report of blocks now");
  if (blocks.ledger.state === "closed") {
    const { why = "it was not looked at what runs yet" } = blocks.ledger;
    return not("UNAVAILABLE", `its ledger is closed: ${why}`);
  }
  const nodes = roomByNode(view, blocks);
  const freeGpus = nodes.reduce((sum, node) => sum + node.freeGpus, 0);
  const memoryMiB = nodes.reduce((sum, node) => sum + node.memoryMiB, 0);
  const freeMemoryMiB = nodes.reduce((sum, node) => sum + node.freeMemoryMiB, 0);
  const freeMemory = memoryMiB === 0 ? 0 : freeMemoryMiB / memoryMiB;
  const fits: RoomVerdict = { kind: "may", freeGpus, freeMemory };
  // What it just did is not in its view yet.
  if (blocks.isBehind) return fits;
  return tooSmall(nodes, need) ?? fits;
}

/** The order in which clusters are asked: the emptiest first. */
export function emptierFirst(
  one: Extract<RoomVerdict, { kind: "may" }>,
  other: Extract<RoomVerdict, { kind: "may" }>,
): number {
  return other.freeGpus - one.freeGpus || other.freeMemory - one.freeMemory;
}

interface NodeRoom {
  /** Devices of healthy GPUs, free or not. */
  readonly devices: number;
  /** Devices of free GPUs, and all parts of those that MIG has cut: which of them are free is not known here. */
  readonly freeDevices: number;
  readonly freeGpus: number;
  readonly memoryMiB: number;
  readonly freeMemoryMiB: number;
}

/** Rooms as they were worked out for the same view. */
const rooms = new WeakMap<
  ClusterBlocks,
  { readonly view: ClusterView; readonly nodes: NodeRoom[] }
>();

function roomByNode(view: ClusterView, blocks: ClusterBlocks): readonly NodeRoom[] {
  const known = rooms.get(blocks);
  if (known?.view === view) return known.nodes;
  const taken = new Map<string, number>();
  for (const { node_id: nodeId, memory } of [...blocks.allocations, ...blocks.leases]) {
    taken.set(nodeId, (taken.get(nodeId) ?? 0) + memory);
  }
  const nodes = view.document.nodes.nodeData.map((node): NodeRoom => {
    const gpus = (node.gpus?.gpus ?? []).filter(({ state }) => !isOut(state));
    const free = gpus.filter(({ state = "free" }) => state === "free");
    const parts = gpus.filter(
      ({ state, migDevices = [] }) => state !== "free" && migDevices.length,
    );
    const memoryMiB = typeof node.memory === "number" ? node.memory : 0;
    return {
      devices: devicesOf(gpus),
      freeDevices: devicesOf(free) + devicesOf(parts),
      freeGpus: free.length,
      memoryMiB,
      freeMemoryMiB: Math.max(0, memoryMiB - (taken.get(node.id) ?? 0)),
    };
  });
  rooms.set(blocks, { view, nodes });
  return nodes;
}

function isOut(state: GpuEntry["state"] | undefined): boolean {
  return state === "unhealthy" || state === "cordoned";
}

function devicesOf(gpus: readonly GpuEntry[]): number {
  return gpus.reduce((sum, { migDevices = [] }) => sum + Math.max(1, migDevices.length), 0);
}

function tooSmall(nodes: readonly NodeRoom[], need: BlockNeed): RoomVerdict | undefined {
  const most = nodes.reduce((sum, node) => sum + instancesIn(node, need), 0);
  if (most >= need.instances) return undefined;
  const what = [
    ...(need.gpus > 0 ? [`${need.gpus} GPUs`] : []),
    ...(need.memoryMiB > 0 ? [`${need.memoryMiB} MiB of memory`] : []),
  ].join(" and ");
  const room = most === 0 ? "no node has" : `there is room for ${most} of ${need.instances} with`;
  return not("UNSCHEDULABLE", `${room} ${what || "room"} free`);
}

/** Instances that a node could take at most. */
function instancesIn(node: NodeRoom, need: BlockNeed): number {
  const byMemory =
    need.memoryMiB === 0 ? need.instances : Math.floor(node.freeMemoryMiB / need.memoryMiB);
  if (need.gpus === 0) return byMemory;
  if (need.isWhole) return Math.min(byMemory, Math.floor(node.freeDevices / need.gpus));
  // How many shares a GPU still has is not known here.
  return node.devices >= need.gpus ? byMemory : 0;
}

function not(reason: string, message: string): RoomVerdict {
  return { kind: "not", reason, message };
}
