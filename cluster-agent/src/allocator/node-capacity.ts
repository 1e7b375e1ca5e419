import type { NodeCapacity } from "../ledger/claim.ts";
import { lifecycleRefusal } from "../nodes/node-lifecycle.ts";
import type { NodeView } from "../nodes/node-view.ts";

/** Millis of one logical core. */
const CORE_MILLIS = 1_000;

/** What a node has to give, as its newest reports say. A GPU that has gone keeps its slot, and gives nothing. */
export function nodeCapacity(node: NodeView): NodeCapacity {
  const { id, inventory, slots, verdicts, reason, liveness, lifecycle } = node;
  const devices = new Map(inventory.gpus.map((gpu) => [gpu.uuid, gpu]));
  const refusal = liveness === "live" ? lifecycleRefusal(lifecycle) : (reason ?? liveness);
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
    cpuMillis: inventory.cpu.logicalCores * CORE_MILLIS,
    memoryMiB: inventory.memoryMiB,
    storageMiB: inventory.disks.reduce((sum, disk) => sum + disk.sizeMiB, 0),
  };
}
