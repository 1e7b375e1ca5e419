import type { NodeStatus, UsageStatus } from "@berth/proto";
import { timedNodeReason } from "../nodes/health-reasons.ts";
import type { NodeView } from "../nodes/node-view.ts";
import { verdictFields } from "./gpu-state.ts";
import { nodeMetrics } from "./node-metrics.ts";
import { percent, sum } from "./numbers.ts";

/**
 * A node as `/nodes_status` lists it (seed "stability checker", `nodes_data`). Usage is what is in use
 * now, not what the system reserves. Values that are not known are null. The reason of a node that is silent
 * says for how long; that of one which Kubernetes lets nothing new go to says why.
 */
export function nodeStatus(node: NodeView): NodeStatus {
  const { inventory } = node;
  const reading = node.host?.reading;
  const metrics = nodeMetrics(node);
  const silence = timedNodeReason(node);
  const reason = silence ?? node.reported?.refusal;
  return {
    node_id: node.id,
    status: metrics.status,
    cpu_utilization_percent: reading?.cpuUtilizationPercent ?? null,
    memory: usage(
      inventory.memoryMiB,
      reading?.memoryAvailableMiB,
      percent(reading?.memoryUsedMiB, inventory.memoryMiB),
    ),
    disk: diskUsage(node),
    gpus: metrics.gpus.map((gpu) => ({
      id: gpu.gpu_id,
      utilization: gpu.cudaUtilization ?? null,
      memory: { total: gpu.totalMem ?? null, usage_percent: gpu.memUtilization ?? null },
      ...verdictFields(node.verdicts[gpu.gpu_id], silence ?? gpu.reason),
    })),
    ...(reason === undefined ? {} : { reason }),
    ...(metrics.simulated === true ? { simulated: true } : {}),
  };
}

function diskUsage({ inventory, host }: NodeView): UsageStatus {
  const used = sum(host?.reading.disks.map((disk) => disk.usedMiB) ?? []);
  const available = sum(host?.reading.disks.map((disk) => disk.availableMiB) ?? []);
  // Of what programs can have, as df counts it: the file system's own reserve is left out.
  const usable = used === undefined || available === undefined ? undefined : used + available;
  return usage(sum(inventory.disks.map((disk) => disk.sizeMiB)), available, percent(used, usable));
}

function usage(total?: number, allocatable?: number, usagePercent?: number): UsageStatus {
  return {
    total: total ?? null,
    allocatable: allocatable ?? null,
    usage_percent: usagePercent ?? null,
  };
}
