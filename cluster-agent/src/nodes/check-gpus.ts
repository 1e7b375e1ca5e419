import type { GpuInfo, GpuTopology, MigDeviceInfo } from "@berth/proto";
import { MAX_MIB } from "./field-check.ts";
import { atMost, between, invalid, text, token, unique, whole } from "./field-rules.ts";
import type { GpuInventory, MigInventory, TopologyInventory, TopologyRow } from "./inventory.ts";

/** Most items of each list of GPUs that a fingerprint may carry. */
export const GPU_LIMITS = { gpus: 64, migDevices: 64, nics: 192 } as const;

const MAX_POWER_W = 100_000;
const MAX_ID = 2 ** 32;
const MAX_LINK = 16;

/** Checks the GPUs of a fingerprint; throws INVALID_ARGUMENT that names the field. */
export function checkGpus(gpus: readonly GpuInfo[]): GpuInventory[] {
  const field = "fingerprint.gpus";
  atMost(field, gpus, GPU_LIMITS.gpus);
  const checked = gpus.map((gpu, index) => checkGpu(`${field}.${index}`, gpu));
  unique(
    `${field}.uuid`,
    checked.map((gpu) => gpu.uuid),
  );
  unique(
    `${field}.mig_devices.uuid`,
    checked.flatMap((gpu) => gpu.migDevices?.map((part) => part.uuid) ?? []),
  );
  return checked;
}

/**
 * Checks the topology against the GPUs of its fingerprint; undefined when it says nothing. Throws
 * INVALID_ARGUMENT that names the field.
 */
export function checkTopology(
  topology: GpuTopology | undefined,
  gpus: readonly GpuInventory[],
): TopologyInventory | undefined {
  if (topology === undefined || topology.rows.length === 0) return undefined;
  const field = "fingerprint.gpu_topology";
  atMost(`${field}.nics`, topology.nics, GPU_LIMITS.nics);
  atMost(`${field}.rows`, topology.rows, gpus.length);
  const nics = topology.nics.map((name, index) => text(`${field}.nics.${index}`, name));
  const known = new Set(gpus.map((gpu) => gpu.uuid));
  const rows = topology.rows.map((row, index): TopologyRow => {
    const at = `${field}.rows.${index}`;
    const { uuid, links, cpuAffinity, numaAffinity } = row;
    if (!known.delete(token(`${at}.uuid`, uuid))) {
      throw invalid(`${at}.uuid`, "a GPU of the fingerprint, each once", uuid);
    }
    atMost(`${at}.links`, links, gpus.length + nics.length);
    return {
      uuid,
      links: links.map((link, to) => text(`${at}.links.${to}`, link, MAX_LINK)),
      cpuAffinity: text(`${at}.cpu_affinity`, cpuAffinity),
      numaAffinity: text(`${at}.numa_affinity`, numaAffinity),
    };
  });
  return { nics, rows };
}

function checkGpu(field: string, gpu: GpuInfo): GpuInventory {
  const { memoryMib, migEnabled, powerLimitW, minorNumber, cudaVersion } = gpu;
  const parts = checkParts(`${field}.mig_devices`, gpu.migDevices);
  return {
    uuid: token(`${field}.uuid`, gpu.uuid),
    driverIndex: gpu.driverIndex,
    modelName: text(`${field}.model_name`, gpu.modelName),
    ...(memoryMib === undefined
      ? {}
      : { memoryMiB: whole(`${field}.memory_mib`, memoryMib, 0, MAX_MIB) }),
    pciBusId: text(`${field}.pci_bus_id`, gpu.pciBusId),
    ...(migEnabled === undefined ? {} : { migEnabled }),
    ...(powerLimitW === undefined
      ? {}
      : { powerLimitW: between(`${field}.power_limit_w`, powerLimitW, 0, MAX_POWER_W) }),
    driverVersion: text(`${field}.driver_version`, gpu.driverVersion),
    ...(cudaVersion === "" ? {} : { cudaVersion: text(`${field}.cuda_version`, cudaVersion) }),
    ...(minorNumber === undefined
      ? {}
      : { minorNumber: whole(`${field}.minor_number`, minorNumber, 0, MAX_ID) }),
    ...(parts.length === 0 ? {} : { migDevices: parts }),
  };
}

function checkParts(field: string, parts: readonly MigDeviceInfo[]): MigInventory[] {
  atMost(field, parts, GPU_LIMITS.migDevices);
  return parts.map((part, index) => {
    const at = `${field}.${index}`;
    const { memoryMib } = part;
    return {
      uuid: token(`${at}.uuid`, part.uuid),
      index: part.index,
      gpuInstanceId: part.gpuInstanceId,
      computeInstanceId: part.computeInstanceId,
      profile: text(`${at}.profile`, part.profile),
      ...(memoryMib === undefined
        ? {}
        : { memoryMiB: whole(`${at}.memory_mib`, memoryMib, 0, MAX_MIB) }),
    };
  });
}
