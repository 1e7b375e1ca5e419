import type { Fingerprint, GpuInfo, NodeRegisterRequest } from "@berth/proto";
import { BerthError } from "@berth/service-kit";
import type { DiskInventory, GpuInventory, NetworkInventory, NodeInventory } from "./inventory.ts";

/** Most items of each list that a fingerprint may carry. */
export const FINGERPRINT_LIMITS = { gpus: 64, disks: 256, networkInterfaces: 256 } as const;

const NODE_ID = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const TOKEN = /^[!-~]{1,128}$/;
const MAX_TEXT = 256;
const MAX_FORMER_INSTANCES = 256;
const MAX_MIB = 2 ** 42;
const MAX_CORES = 65_536;
const MAX_SPEED_MBPS = 10_000_000;
const MAX_POWER_W = 100_000;

/** A registration whose fields all hold. */
export interface CheckedRegistration {
  readonly nodeId: string;
  readonly incarnation: number;
  /** UUID of the agent's process. */
  readonly agentInstanceId: string;
  /** Those of the starts of its state directory before it, oldest first; empty where it tells none. */
  readonly formerInstanceIds: readonly string[];
  readonly inventory: NodeInventory;
  readonly agentVersion: string;
}

/** Checks a registration; throws INVALID_ARGUMENT that names the field and what was expected. */
export function checkRegistration(request: NodeRegisterRequest): CheckedRegistration {
  if (!NODE_ID.test(request.nodeId)) {
    const expected = "1-253 characters of [a-z0-9.-], a letter or digit first and last";
    throw invalid("node_id", expected, JSON.stringify(request.nodeId.slice(0, MAX_TEXT)));
  }
  return {
    nodeId: request.nodeId,
    incarnation: whole("node_incarnation", request.nodeIncarnation, 0, Number.MAX_SAFE_INTEGER),
    agentInstanceId: token("agent_instance_id", request.agentInstanceId),
    formerInstanceIds: checkFormerInstances(request.formerInstanceIds),
    inventory: checkFingerprint(request.fingerprint),
    agentVersion: text("agent_version", request.agentVersion),
  };
}

/** Checks a fingerprint; throws INVALID_ARGUMENT that names the field and what was expected. */
export function checkFingerprint(fingerprint: Fingerprint | undefined): NodeInventory {
  if (fingerprint === undefined) throw invalid("fingerprint", "a fingerprint", "nothing");
  const { cpu, identity } = fingerprint;
  const physicalCores = cpu?.physicalCores ?? 0;
  return {
    machineId: token("fingerprint.identity.machine_id", identity?.machineId ?? ""),
    bootId: text("fingerprint.identity.boot_id", identity?.bootId ?? ""),
    hostname: text("fingerprint.hostname", fingerprint.hostname),
    osRelease: text("fingerprint.os_release", fingerprint.osRelease),
    kernelRelease: text("fingerprint.kernel_release", fingerprint.kernelRelease),
    architecture: text("fingerprint.architecture", fingerprint.architecture),
    cpu: {
      modelName: text("fingerprint.cpu.model_name", cpu?.modelName ?? ""),
      logicalCores: whole("fingerprint.cpu.logical_cores", cpu?.logicalCores ?? 0, 1, MAX_CORES),
      ...(physicalCores === 0
        ? {}
        : { physicalCores: whole("fingerprint.cpu.physical_cores", physicalCores, 1, MAX_CORES) }),
    },
    memoryMiB: whole("fingerprint.memory_mib", fingerprint.memoryMib, 1, MAX_MIB),
    swapMiB: whole("fingerprint.swap_mib", fingerprint.swapMib, 0, MAX_MIB),
    disks: checkDisks(fingerprint),
    networkInterfaces: checkInterfaces(fingerprint),
    gpus: checkGpus(fingerprint.gpus),
    gpuError: fingerprint.gpuError.slice(0, MAX_TEXT),
  };
}

function checkFormerInstances(ids: readonly string[]): readonly string[] {
  const field = "former_instance_ids";
  atMost(field, ids, MAX_FORMER_INSTANCES);
  return ids.map((id, index) => token(`${field}.${index}`, id));
}

function checkDisks({ disks }: Fingerprint): DiskInventory[] {
  const field = "fingerprint.disks";
  atMost(field, disks, FINGERPRINT_LIMITS.disks);
  const checked = disks.map((disk, index) => ({
    device: text(`${field}.${index}.device`, disk.device),
    mountPoint: path(`${field}.${index}.mount_point`, disk.mountPoint),
    fileSystem: text(`${field}.${index}.file_system`, disk.fileSystem),
    sizeMiB: whole(`${field}.${index}.size_mib`, disk.sizeMib, 0, MAX_MIB),
  }));
  unique(
    `${field}.mount_point`,
    checked.map((disk) => disk.mountPoint),
  );
  return checked;
}

function checkInterfaces({ networkInterfaces }: Fingerprint): NetworkInventory[] {
  const field = "fingerprint.network_interfaces";
  atMost(field, networkInterfaces, FINGERPRINT_LIMITS.networkInterfaces);
  const checked = networkInterfaces.map(({ name, speedMbps }, index) => ({
    name: token(`${field}.${index}.name`, name),
    ...(speedMbps === undefined
      ? {}
      : { speedMbps: whole(`${field}.${index}.speed_mbps`, speedMbps, 0, MAX_SPEED_MBPS) }),
  }));
  unique(
    `${field}.name`,
    checked.map((item) => item.name),
  );
  return checked;
}

function checkGpus(gpus: readonly GpuInfo[]): GpuInventory[] {
  const field = "fingerprint.gpus";
  atMost(field, gpus, FINGERPRINT_LIMITS.gpus);
  const checked = gpus.map((gpu, index) => checkGpu(`${field}.${index}`, gpu));
  unique(
    `${field}.uuid`,
    checked.map((gpu) => gpu.uuid),
  );
  return checked;
}

function checkGpu(field: string, gpu: GpuInfo): GpuInventory {
  const { memoryMib, migEnabled, powerLimitW } = gpu;
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
  };
}

function text(field: string, value: string): string {
  if (value.length <= MAX_TEXT) return value;
  throw invalid(field, `at most ${MAX_TEXT} characters`, `${value.length}`);
}

function token(field: string, value: string): string {
  if (TOKEN.test(value)) return value;
  throw invalid(field, "1-128 printable characters", JSON.stringify(value.slice(0, MAX_TEXT)));
}

function path(field: string, value: string): string {
  if (value !== "" && value.length <= 4_096) return value;
  throw invalid(field, "a path of 1-4096 characters", `${value.length}`);
}

function whole(field: string, value: number | bigint, min: number, max: number): number {
  return between(field, Number(value), min, max);
}

function between(field: string, value: number, min: number, max: number): number {
  if (value >= min && value <= max) return value;
  throw invalid(field, `a number from ${min} to ${max}`, String(value));
}

function atMost(field: string, items: readonly unknown[], limit: number): void {
  if (items.length > limit) throw invalid(field, `at most ${limit} items`, String(items.length));
}

function unique(field: string, values: readonly string[]): void {
  const seen = new Set<string>();
  for (const value of values) {
    if (seen.has(value)) throw invalid(field, "different values", `${value} twice`);
    seen.add(value);
  }
}

function invalid(field: string, expected: string, got: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", `${field}: expected ${expected}, got ${got}`);
}
