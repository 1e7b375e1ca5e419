import type { Fingerprint, NodeRegisterRequest } from "@berth/proto";
import { checkGpus, checkTopology, GPU_LIMITS } from "./check-gpus.ts";
import { MAX_MIB } from "./field-check.ts";
import { atMost, invalid, MAX_TEXT, path, text, token, unique, whole } from "./field-rules.ts";
import type { DiskInventory, NetworkInventory, NodeInventory } from "./inventory.ts";
import { shownText } from "./shown-text.ts";

/** Most items of each list that a fingerprint may carry. */
export const FINGERPRINT_LIMITS = {
  gpus: GPU_LIMITS.gpus,
  disks: 256,
  networkInterfaces: 256,
} as const;

const NODE_ID = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const MAX_FORMER_INSTANCES = 256;
const MAX_CORES = 65_536;
const MAX_SPEED_MBPS = 10_000_000;

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
  const gpus = checkGpus(fingerprint.gpus);
  const gpuTopology = checkTopology(fingerprint.gpuTopology, gpus);
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
    gpus,
    gpuError: shownText(fingerprint.gpuError, MAX_TEXT),
    ...(gpuTopology === undefined ? {} : { gpuTopology }),
    ...(fingerprint.simulated ? { simulated: true } : {}),
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
