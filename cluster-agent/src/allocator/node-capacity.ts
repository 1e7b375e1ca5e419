import type { NodeCapacity } from "../ledger/claim.ts";
import { closedReason, type NodeView } from "../nodes/node-view.ts";

/** Millis of one logical core. */
const CORE_MILLIS = 1_000;

/**
 * What a node has to give, as its newest reports say: no more than Kubernetes lets pods have, where it tells. A GPU that has
 * gone keeps its slot, and gives nothing.
 */
export function nodeCapacity(node: NodeView): NodeCapacity {
  const { id, inventory, slots, verdicts, reason, liveness, reported } = node;
  const devices = new Map(inventory.gpus.map((gpu) => [gpu.uuid, gpu]));
  const refusal = liveness === "live" ? closedReason(node) : (reason ?? liveness);
  const storageMiB = inventory.disks.reduce((sum, disk) => sum + disk.sizeMiB, 0);
  return {
    nodeId: id,
    ...(refusal === undefined ? {} : { refusal }),
    gpus: slots.map(({ uuid, memoryMiB = 0 }, slot) => {
      const { migEnabled = false, migDevices = [] } = devices.get(uuid) ?? {};
      const verdict = verdicts[slot];
      const unusable = verdict?.state === "free" ? undefined : (verdict?.reason ?? "unhealthy");
      return {
        uuid,
        slot,
        memoryMiB,
        ...(unusable === undefined ? {} : { refusal: unusable }),
        migEnabled,
        migDevices: migDevices.map((part) => ({
          uuid: part.uuid,
          memoryMiB: part.memoryMiB ?? 0,
        })),
      };
    }),
    cpuMillis: least(inventory.cpu.logicalCores * CORE_MILLIS, reported?.cpuMillis),
    memoryMiB: least(inventory.memoryMiB, reported?.memoryMiB),
    storageMiB: least(storageMiB, reported?.storageMiB),
  };
}

function least(amount: number, allocatable: number | undefined): number {
  return allocatable === undefined ? amount : Math.min(amount, allocatable);
}
