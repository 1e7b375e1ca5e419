import type { GpuCapacity, Hold } from "./claim.ts";
import { deviceRefusal } from "./device-check.ts";
import { type DeviceUse, gpuUse, type NodeUse, type NodeUseOptions, nodeUse } from "./node-use.ts";

/** `allocated`: an instance holds all or some of it; `leased`: only leases do. */
export type DeviceState = "free" | "leased" | "allocated";

/** An amount of a node. Over-commit shows as `taken` above `total`. */
export interface AmountBalance {
  readonly total: number;
  readonly taken: number;
  /** Never below 0. */
  readonly free: number;
}

/** One device of a node, or one that is held although the node does not report it any more. */
export interface DeviceBalance {
  readonly uuid: string;
  /** `gone`: the node does not report it any more, and somebody holds it. */
  readonly kind: "gpu" | "mig" | "gone";
  /** Of the GPU, or of the GPU that it is cut from; absent for one that is gone. */
  readonly slot?: number;
  /** GPU that a MIG device is, or was, cut from. */
  readonly gpuUuid?: string;
  readonly memory: AmountBalance;
  readonly state: DeviceState;
  /** Ids of the holds that touch it, or a part of it. */
  readonly holders: readonly string[];
  /** Why it cannot be claimed whole; absent when it can. A share of its memory may still be free. */
  readonly whyNot?: string;
}

/** What is taken and what is free on a node. */
export interface NodeBalance {
  readonly nodeId: string;
  /** Why nothing may be taken of it; absent when something may. */
  readonly refusal?: string;
  /** GPUs by slot, each followed by its MIG devices; then what is gone. */
  readonly devices: readonly DeviceBalance[];
  readonly cpuMillis: AmountBalance;
  readonly memoryMiB: AmountBalance;
  readonly storageMiB: AmountBalance;
}

/** Strikes the balance of a node: its capacity against all holds given. */
export function nodeBalance(node: NodeUseOptions): NodeBalance {
  const use = nodeUse(node);
  const { nodeId, refusal, gpus } = use.capacity;
  const inSlotOrder = [...gpus].sort((one, other) => one.slot - other.slot);
  const devices = inSlotOrder.flatMap((gpu) => [
    gpuBalance(use, gpu),
    ...gpu.migDevices.map((part) => partBalance(use, gpu, part)),
  ]);
  const amounts = (field: keyof NodeUse["taken"]) => amount(use.capacity[field], use.taken[field]);
  return {
    nodeId,
    ...(refusal === undefined ? {} : { refusal }),
    devices: [...devices, ...goneBalances(use)],
    cpuMillis: amounts("cpuMillis"),
    memoryMiB: amounts("memoryMiB"),
    storageMiB: amounts("storageMiB"),
  };
}

/** Total, taken and free, which is never below 0. */
export function amount(total: number, taken: number): AmountBalance {
  return { total, taken, free: Math.max(0, total - taken) };
}

function gpuBalance(use: NodeUse, gpu: GpuCapacity): DeviceBalance {
  const { own, parts } = gpuUse(use, gpu);
  const partsMiB = parts.map(({ uuid }) => use.places.get(uuid)?.part?.memoryMiB ?? 0);
  const ownMiB = own.map(({ memoryMiB = gpu.memoryMiB }) => memoryMiB);
  const takenMiB = [...ownMiB, ...partsMiB].reduce((sum, part) => sum + part, 0);
  return {
    uuid: gpu.uuid,
    kind: "gpu",
    slot: gpu.slot,
    memory: amount(gpu.memoryMiB, takenMiB),
    ...standing([...own, ...parts]),
    ...whyNot(use, gpu.uuid),
  };
}

function partBalance(
  use: NodeUse,
  gpu: GpuCapacity,
  { uuid, memoryMiB }: GpuCapacity["migDevices"][number],
): DeviceBalance {
  const own = use.uses.get(uuid) ?? [];
  // Who holds the GPU itself, from before it was cut up, holds this part of it.
  const users = [...gpuUse(use, gpu).own, ...own];
  const place = { uuid, kind: "mig", slot: gpu.slot, gpuUuid: gpu.uuid } as const;
  const memory = amount(memoryMiB, memoryMiB * users.length);
  return { ...place, memory, ...standing(users), ...whyNot(use, uuid) };
}

function goneBalances(use: NodeUse): readonly DeviceBalance[] {
  const gone = [...use.uses].filter(([uuid]) => !use.places.has(uuid));
  return gone.map(([uuid, users]) => {
    const gpuUuid = use.parents.get(uuid);
    const takenMiB = users.reduce((sum, { memoryMiB = 0 }) => sum + memoryMiB, 0);
    const parent = gpuUuid === undefined ? {} : { gpuUuid };
    const memory = amount(0, takenMiB);
    return { uuid, kind: "gone", ...parent, memory, ...standing(users), ...whyNot(use, uuid) };
  });
}

function standing(users: readonly DeviceUse[]): Pick<DeviceBalance, "state" | "holders"> {
  const holders = [...new Set(users.map(({ hold }) => hold.id))];
  return { state: stateOf(users.map(({ hold }) => hold)), holders };
}

function stateOf(holds: readonly Hold[]): DeviceState {
  if (holds.some(({ kind }) => kind === "allocation")) return "allocated";
  return holds.length === 0 ? "free" : "leased";
}

function whyNot(use: NodeUse, uuid: string): Pick<DeviceBalance, "whyNot"> {
  const refusal = deviceRefusal(use, { uuid });
  return refusal === undefined ? {} : { whyNot: refusal.message };
}
