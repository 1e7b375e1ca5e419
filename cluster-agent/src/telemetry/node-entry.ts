import type { NodeEntry } from "@berth/proto";
import type { NodeView } from "../nodes/node-view.ts";
import { freeGpus, gpuState } from "./gpu-state.ts";
import { sum } from "./numbers.ts";

/**
 * A node as the cluster document lists it. GPUs stand in slot order, so a GPU's id is its position; a
 * device that has gone keeps its place as unhealthy.
 */
export function nodeEntry(node: NodeView): NodeEntry {
  const { inventory, slots } = node;
  const gpus = slots.map((slot, position) => ({
    id: String(position),
    uuid: slot.uuid,
    modelName: slot.modelName,
    memory: slot.memoryMiB ?? 0,
    state: gpuState(node, slot.uuid),
  }));
  const bandwidth = sum(inventory.networkInterfaces.map((item) => item.speedMbps)) ?? 0;
  return {
    id: node.id,
    gpus: {
      count: gpus.length,
      memory: sum(gpus.map((gpu) => gpu.memory)) ?? 0,
      gpus,
      features: inventory.gpus.some((gpu) => gpu.migEnabled === true) ? ["mig"] : [],
      modelNames: [...new Set(gpus.map((gpu) => gpu.modelName))],
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
    ...(inventory.gpuError === "" ? {} : { gpuError: inventory.gpuError }),
  };
}
