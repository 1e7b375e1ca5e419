import type { GpuEntry, GpuTopologyEntry, MigDeviceEntry } from "@berth/proto";
import type { GpuInventory, GpuSlot, NodeInventory } from "../nodes/inventory.ts";
import type { NodeView } from "../nodes/node-view.ts";
import { verdictFields } from "./gpu-state.ts";

/** The GPUs of a node as the cluster document lists them, in slot order. */
export function gpuEntries({ inventory, slots, verdicts }: NodeView): GpuEntry[] {
  const devices = new Map(inventory.gpus.map((gpu) => [gpu.uuid, gpu]));
  const rows = new Map(inventory.gpuTopology?.rows.map((row) => [row.uuid, row]));
  return slots.map((slot, position) => {
    const device = devices.get(slot.uuid);
    const { cpuAffinity = "", numaAffinity = "" } = rows.get(slot.uuid) ?? {};
    return {
      id: String(position),
      uuid: slot.uuid,
      modelName: slot.modelName,
      memory: slot.memoryMiB ?? 0,
      ...verdictFields(verdicts[position]),
      ...(device === undefined ? {} : deviceFields(device)),
      ...(cpuAffinity === "" ? {} : { cpuAffinity }),
      ...(numaAffinity === "" ? {} : { numaAffinity }),
    };
  });
}

/**
 * How near the GPUs are to each other and to network cards, in slot order: paths of a slot whose device is
 * not listed are empty. Undefined where the driver does not say.
 */
export function topologyEntry(
  { gpus, gpuTopology }: Pick<NodeInventory, "gpus" | "gpuTopology">,
  slots: readonly Pick<GpuSlot, "uuid">[],
): GpuTopologyEntry | undefined {
  if (gpuTopology === undefined) return undefined;
  const { nics, rows } = gpuTopology;
  const places = new Map(gpus.map((gpu, place) => [gpu.uuid, place]));
  const byUuid = new Map(rows.map((row) => [row.uuid, row]));
  const columns = [
    ...slots.map(({ uuid }) => places.get(uuid)),
    ...nics.keys().map((nic) => gpus.length + nic),
  ];
  const links = slots.map(({ uuid }) => {
    const row = byUuid.get(uuid);
    return columns.map((column) => (column === undefined ? "" : (row?.links[column] ?? "")));
  });
  return { nics, links };
}

function deviceFields({ pciBusId, migEnabled, migDevices }: GpuInventory) {
  return {
    ...(pciBusId === "" ? {} : { pciBusId }),
    ...(migEnabled === undefined ? {} : { migEnabled }),
    ...(migDevices === undefined ? {} : { migDevices: migDevices.map(partEntry) }),
  };
}

function partEntry({
  uuid,
  index,
  profile,
  memoryMiB,
}: NonNullable<GpuInventory["migDevices"]>[number]): MigDeviceEntry {
  return { uuid, index, profile, memory: memoryMiB ?? 0 };
}
