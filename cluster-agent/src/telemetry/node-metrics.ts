import type { GpuMetrics, NodeMetrics } from "@berth/proto";
import { factEntries } from "../nodes/health-facts.ts";
import type { HostReading, NodeInventory } from "../nodes/inventory.ts";
import type { NodeView } from "../nodes/node-view.ts";
import { gpuMetrics } from "./gpu-metrics.ts";
import { freeGpus } from "./gpu-state.ts";
import { known, mean, percent, sum } from "./numbers.ts";

/**
 * Metrics of a node in the shape that existing policies and clients read. What is not known is absent.
 * A node that is not live keeps its last values, with the status `unhealthy` and a growing age.
 */
export function nodeMetrics(node: NodeView): NodeMetrics {
  const reading = node.host?.reading;
  const gpus = node.slots.map((_slot, position) => gpuMetrics(node, position));
  const reason = node.reason ?? node.reported?.refusal;
  return {
    id: node.id,
    node_id: node.id,
    status: node.liveness === "live" ? "healthy" : "unhealthy",
    age_ms: node.ageMs,
    quality: node.host?.quality ?? "unavailable",
    memory: memoryMetrics(reading, node.inventory),
    vcpu: cpuMetrics(reading, node.inventory),
    storage: storageMetrics(reading, node.inventory),
    network: networkMetrics(reading),
    ...(gpus.length === 0 ? {} : { gpu: gpuTotals(gpus) }),
    gpus,
    free_gpus: freeGpus(node),
    ...(node.nodeFacts.length === 0 ? {} : { healthFacts: factEntries(node.nodeFacts) }),
    ...(node.kernelLog === undefined ? {} : { kernelLog: node.kernelLog }),
    ...(reason === undefined ? {} : { reason }),
    ...(node.inventory.simulated === true ? { simulated: true } : {}),
  };
}

/** Totals and averages over GPUs: sums over those that say a value, averages over the same. */
export function gpuTotals(gpus: readonly GpuMetrics[]): Record<string, number> {
  return known({
    totalUsedMem: sum(gpus.map((gpu) => gpu.usedMem)),
    totalFreeMem: sum(gpus.map((gpu) => gpu.freeMem)),
    totalMem: sum(gpus.map((gpu) => gpu.totalMem)),
    avgMemUtilization: mean(gpus.map((gpu) => gpu.memUtilization)),
    avgCudaUtilization: mean(gpus.map((gpu) => gpu.cudaUtilization)),
    avgPowerUtilization: mean(gpus.map((gpu) => gpu.powerUtilization)),
    avgTemperature: mean(gpus.map((gpu) => gpu.temperature)),
    count: gpus.length,
  });
}

function memoryMetrics(reading: HostReading | undefined, { memoryMiB }: NodeInventory) {
  return known({
    freeMem: reading?.memoryAvailableMiB,
    usedMem: reading?.memoryUsedMiB,
    averageUtil: percent(reading?.memoryUsedMiB, memoryMiB),
    usedSwap: reading?.swapUsedMiB,
    freeSwap: reading?.swapFreeMiB,
  });
}

function cpuMetrics(reading: HostReading | undefined, { cpu }: NodeInventory) {
  return known({
    count: cpu.logicalCores,
    utilization: reading?.cpuUtilizationPercent,
    load1m: reading?.load1m,
    load5m: reading?.load5m,
    load15m: reading?.load15m,
    load_1m: reading?.load1m,
    load_5m: reading?.load5m,
    load_15m: reading?.load15m,
    runningProcesses: reading?.processesRunning,
    totalProcesses: reading?.processesTotal,
  });
}

function storageMetrics(reading: HostReading | undefined, { disks }: NodeInventory) {
  const sizes = disks.map((disk) => disk.sizeMiB);
  const use = known({
    freeMem: sum(reading?.disks.map((disk) => disk.availableMiB) ?? []),
    usedMem: sum(reading?.disks.map((disk) => disk.usedMiB) ?? []),
  });
  const bounds =
    sizes.length === 0
      ? {}
      : {
          maxDisk: sizes.reduce((a, b) => Math.max(a, b)),
          minDisk: sizes.reduce((a, b) => Math.min(a, b)),
        };
  return { ...use, disks: { memory: { ...use, ...bounds } } };
}

function networkMetrics(reading: HostReading | undefined) {
  const interfaces = reading?.networkInterfaces ?? [];
  const totals = known({
    txBytesTotal: sum(interfaces.map((item) => item.transmittedBytes)),
    rxBytesTotal: sum(interfaces.map((item) => item.receivedBytes)),
  });
  return { ...totals, ifaces: totals };
}
