import type { GpuInventory, GpuSlot } from "./inventory.ts";

/** Most slots that one node ever gets: its GPUs and those that have gone. */
export const MAX_GPU_SLOTS = 256;

/** Result of {@link bindSlots}. */
export type SlotBinding =
  | { readonly kind: "bound"; readonly slots: readonly GpuSlot[] }
  | { readonly kind: "full"; readonly limit: number };

/**
 * Binds GPUs to slots: a device keeps the slot in which it was first seen, whatever the order in which
 * the driver lists it now; a device that is gone keeps its slot; a new one gets the next slot.
 */
export function bindSlots(bound: readonly GpuSlot[], gpus: readonly GpuInventory[]): SlotBinding {
  const byUuid = new Map(gpus.map((gpu) => [gpu.uuid, gpu]));
  const slots = bound.map((slot) => {
    const gpu = byUuid.get(slot.uuid);
    byUuid.delete(slot.uuid);
    return gpu === undefined ? slot : toSlot(gpu);
  });
  for (const gpu of byUuid.values()) slots.push(toSlot(gpu));
  if (slots.length > MAX_GPU_SLOTS) return { kind: "full", limit: MAX_GPU_SLOTS };
  return { kind: "bound", slots };
}

function toSlot({ uuid, modelName, memoryMiB }: GpuInventory): GpuSlot {
  return { uuid, modelName, ...(memoryMiB === undefined ? {} : { memoryMiB }) };
}
