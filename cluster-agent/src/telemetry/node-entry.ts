import type { NodeEntry } from "@berth/proto";
import type { NodeView } from "../nodes/node-view.ts";
import { gpuEntries, topologyEntry } from "./gpu-entries.ts";
import { freeGpus } from "./gpu-state.ts";
import { sum } from "./numbers.ts";

/**
 * A node as the cluster document lists it. GPUs stand in slot order, so a GPU's id is its position; a
 * device that has gone keeps its place as unhealthy.
 */
export function nodeEntry(node: NodeView): NodeEntry {
  const { inventory, slots } = node;
  const gpus = gpuEntries(node);
  const topology = topologyEntry(inventory, slots);
  const bandwidth = sum(inventory.networkInterfaces.map((item) => item.speedMbps)) ?? 0;
  return {
    id: node.id,
    gpus: {
      count: gpus.length,
      memory: sum(gpus.map((gpu) => gpu.memory)) ?? 0,
      gpus,
      features: inventory.gpus.some((gpu) => gpu.migEnabled === true) ? ["mig"] : [],
      modelNames: [...new Set(gpus.map((gpu) => gpu.modelName))],
      ...(topology === undefined ? {} : { topology }),
    },
    free_gpus: freeGpus(node),
    vcpus: { count: inventory.cpu.logicalCores },
    memory: inventory.memoryMiB,
    swap: inventory.swapMiB,
    storage: {
      disks: inventory.disks.length,
      size: sum(inventory.disks.map((disk) => disk.sizeMiB)) ?? 0,
    },
    network: {
      interfaces: inventory.networkInterfaces.length,
      txBandwidth: bandwidth,
      rxBandwidth: bandwidth,
    },
    tags: [],
    nodeMetadata: nodeMetadata(node),
    ...(inventory.simulated === true ? { simulated: true } : {}),
  };
}

function nodeMetadata({ inventory, agentVersion, firstSeenAt }: NodeView): Record<string, unknown> {
  const [firstGpu] = inventory.gpus;
  return {
    hostname: inventory.hostname,
    osRelease: inventory.osRelease,
    kernelRelease: inventory.kernelRelease,
    architecture: inventory.architecture,
    cpuModel: inventory.cpu.modelName,
    bootId: inventory.bootId,
    agentVersion,
    firstSeenAt,
    ...(firstGpu === undefined ? {} : { gpuDriverVersion: firstGpu.driverVersion }),
    ...(firstGpu?.cudaVersion === undefined ? {} : { cudaVersion: firstGpu.cudaVersion }),
    ...(inventory.gpuError === "" ? {} : { gpuError: inventory.gpuError }),
  };
}
