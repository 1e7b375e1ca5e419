import { type AgentInstance, BerthError } from "@berth/service-kit";
import type { CheckedRegistration } from "./check-fingerprint.ts";
import { bindSlots } from "./gpu-slots.ts";
import type { NodeInventory } from "./inventory.ts";
import type { NodeSpeaker } from "./node-speaker.ts";
import type { NodeRecord } from "./node-view.ts";
import type { ReportedNode } from "./reported-nodes.ts";
import type { ToldHealth } from "./told-health.ts";

/** The record of a node after a registration; `now` (ISO 8601) counts for a new node. */
export function registeredRecord(
  asked: CheckedRegistration,
  before: NodeRecord | undefined,
  now: string,
): NodeRecord {
  const { inventory, incarnation, agentInstanceId, agentVersion } = asked;
  return {
    machineId: inventory.machineId,
    incarnation,
    agentInstanceId,
    agentVersion,
    inventory,
    slots: boundSlots(before, inventory),
    firstSeenAt: before?.firstSeenAt ?? now,
    ...(before?.told === undefined ? {} : { told: before.told }),
  };
}

/**
 * The record of a node that only Kubernetes tells of: no GPUs are known of it. `now` (ISO 8601) counts for a new node.
 */
export function reportedRecord(
  reported: ReportedNode,
  before: NodeRecord | undefined,
  now: string,
): NodeRecord {
  return {
    reporter: "kubernetes",
    ...{ machineId: "", incarnation: 0, agentVersion: "" },
    inventory: inventoryOf(reported),
    slots: before?.slots ?? [],
    firstSeenAt: before?.firstSeenAt ?? now,
  };
}

/**
 * The record of a node after a change of its inventory. Throws INVALID_ARGUMENT when the inventory is
 * another machine's.
 */
export function changedRecord(before: NodeRecord, inventory: NodeInventory): NodeRecord {
  if (inventory.machineId !== before.machineId) {
    const message = "fingerprint.identity.machine_id: expected the machine that registered";
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  return { ...before, inventory, slots: boundSlots(before, inventory) };
}

/** The record of a node after something about the health of its GPUs was told. */
export function toldRecord(before: NodeRecord, told: ToldHealth | undefined): NodeRecord {
  const { told: _former, ...rest } = before;
  return told === undefined ? rest : { ...rest, told };
}

/** The process that asks to register. */
export function askingInstance(asked: CheckedRegistration, speaker: NodeSpeaker): AgentInstance {
  const { agentInstanceId: instanceId, incarnation, inventory } = asked;
  const { address } = speaker;
  const about = { instanceId, bootId: inventory.bootId, incarnation };
  return address === undefined ? about : { ...about, address };
}

/** The process that held each node last; records of older versions name none. */
export function lastHolders(
  records: ReadonlyMap<string, NodeRecord>,
): ReadonlyMap<string, AgentInstance> {
  const holders = new Map<string, AgentInstance>();
  for (const [id, { agentInstanceId: instanceId, incarnation, inventory }] of records) {
    if (instanceId === undefined) continue;
    holders.set(id, { instanceId, incarnation, bootId: inventory.bootId });
  }
  return holders;
}

/** Whether the machine has booted between two records; an unknown boot proves nothing. */
export function hasRebooted(before: NodeRecord, after: NodeRecord): boolean {
  const [from, to] = [before.inventory.bootId, after.inventory.bootId];
  return from !== "" && to !== "" && from !== to;
}

function inventoryOf(reported: ReportedNode): NodeInventory {
  const { name, cpuMillis, memoryMiB, storageMiB } = reported;
  const { osRelease, kernelRelease, architecture } = reported;
  const disk = { device: "ephemeral-storage", mountPoint: "", fileSystem: "", sizeMiB: storageMiB };
  return {
    ...{ machineId: "", bootId: "", hostname: name, osRelease, kernelRelease, architecture },
    // Whole cores; what may be taken of them is told in `cpuMillis`.
    cpu: { modelName: "", logicalCores: Math.ceil(cpuMillis / 1_000) },
    ...{ memoryMiB, swapMiB: 0 },
    disks: storageMiB === 0 ? [] : [disk],
    ...{ networkInterfaces: [], gpus: [], gpuError: "" },
  };
}

function boundSlots(before: NodeRecord | undefined, inventory: NodeInventory) {
  const binding = bindSlots(before?.slots ?? [], inventory.gpus);
  if (binding.kind === "bound") return binding.slots;
  const message = `fingerprint.gpus: the node has had more than ${binding.limit} different GPUs`;
  throw new BerthError("INVALID_ARGUMENT", message);
}
