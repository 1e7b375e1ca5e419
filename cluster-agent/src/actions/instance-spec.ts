import type { BlockRecord, InstanceRecord } from "../blocks/block-records.ts";
import { requestedProgram } from "../blocks/entry-reading.ts";
import type { Claim, NodeCapacity } from "../ledger/claim.ts";
import type { AssignedDevice, InstanceSpec, Ownership } from "../runtime/runtime.ts";
import type { RunningOperation } from "./operation.ts";

/** The devices of a claim with the slots that they have, and the memory that was taken of each. */
export function devicesOf(
  { devices }: Claim,
  capacity: NodeCapacity | undefined,
): readonly AssignedDevice[] {
  return devices.map(({ uuid, memoryMiB }) => {
    for (const gpu of capacity?.gpus ?? []) {
      if (gpu.uuid === uuid) return { uuid, slot: gpu.slot, ...memoryOf(memoryMiB, gpu.memoryMiB) };
      const part = gpu.migDevices.find((one) => one.uuid === uuid);
      if (part !== undefined) return { uuid, slot: gpu.slot, memoryMiB: part.memoryMiB };
    }
    return { uuid, slot: 0, ...memoryOf(memoryMiB, 0) };
  });
}

function memoryOf(claimedMiB: number | undefined, wholeMiB: number) {
  if (claimedMiB === undefined) return { memoryMiB: wholeMiB };
  return { memoryMiB: claimedMiB, isShared: true as const };
}

/** Store and term of what this cluster's own API was asked for. */
const LOCAL_FENCE: Ownership["fence"] = { storeId: "", controllerTerm: "0" };

/** Whose decision something is: of the control-plane whose fence stands there, else of this cluster's own API. */
export function ownershipOf(
  operationId: string,
  fence: Ownership["fence"] = LOCAL_FENCE,
): Ownership {
  return { operationId, fence };
}

/** Store and term of the control-plane that gave an order; undefined when this cluster's own API was asked. */
export function fenceOf({ plan }: Pick<RunningOperation, "plan">): Ownership["fence"] | undefined {
  return plan.fence as Ownership["fence"] | undefined;
}

/** What the runtime is told of an instance; the same for the same records. */
export function instanceSpec(
  block: BlockRecord,
  record: InstanceRecord,
  claim: Claim,
): InstanceSpec {
  const { image, command, env } = requestedProgram(block.entry);
  const { blockId, instanceId, nodeId, devices, allocationId, initDataJson } = record;
  const { cpuMillis, memoryMiB, storageMiB } = claim;
  return {
    ...{ blockId, instanceId, nodeId, image, command, env, initDataJson },
    ...{ devices, cpuMillis, memoryMiB, storageMiB, allocationId },
    ownership: ownershipOf(record.operationId, record.fence),
  };
}
