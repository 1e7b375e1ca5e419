import type { AllocationDocument, GpuMetrics, NodeMetrics } from "@berth/proto";
import type { ClusterBlocks } from "../../fleet/agent-api.ts";
import { finiteNumber, numberIn } from "../../fleet/cluster-totals.ts";
import type { ClusterView } from "../../fleet/cluster-view.ts";
import type { Usage } from "./usage-report.ts";

/** One cluster: what its ledger gave to whom, and what its nodes measured. */
export interface AttributionScene {
  readonly blocks: Pick<ClusterBlocks, "clusterId" | "allocations" | "isLive">;
  readonly view: Pick<ClusterView, "nodes" | "reportedAtMs"> | undefined;
}

/** What a subject's allocations use, by the telemetry of their nodes. */
export interface AttributedUsage
  extends Required<Pick<Usage, "cpuUsage" | "memoryUsage" | "gpuUsage">> {
  /** When the oldest telemetry that it rests on was measured, on the monotonic clock, ms; undefined without any. */
  readonly atMs: number | undefined;
}

/** Whose a block of a cluster is; undefined when it is nobody's. */
export type OwnerOf = (clusterId: string, blockId: string) => string | undefined;

/**
 * What the blocks of each subject use. A GPU counts with the share of it that is allocated and the time in which it was busy;
 * of CPU and memory a block has of what its node uses the share that it has of the node, as nodes do not measure instances.
 */
export function attributedUsage(
  scenes: readonly AttributionScene[],
  ownerOf: OwnerOf,
): ReadonlyMap<string, AttributedUsage> {
  const all = new Map<string, AttributedUsage>();
  for (const { blocks, view } of scenes) {
    for (const allocation of blocks.allocations) {
      const owner = ownerOf(blocks.clusterId, allocation.block_id);
      if (owner === undefined) continue;
      const node = view?.nodes.get(allocation.node_id);
      const atMs = node === undefined ? undefined : (view?.reportedAtMs ?? undefined);
      all.set(owner, joined(all.get(owner), { ...usageOf(allocation, node), atMs }));
    }
  }
  return all;
}

function usageOf(
  allocation: AllocationDocument,
  node: NodeMetrics | undefined,
): Omit<AttributedUsage, "atMs"> {
  if (node === undefined) return { cpuUsage: 0, memoryUsage: 0, gpuUsage: 0 };
  const busy = (numberIn(node.vcpu, "utilization") ?? 0) / 100;
  const [used = 0, free = 0] = [numberIn(node.memory, "usedMem"), numberIn(node.memory, "freeMem")];
  const filled = used + free > 0 ? used / (used + free) : 0;
  const gpus = new Map(node.gpus.map((gpu) => [gpu.uuid, gpu] as const));
  return {
    cpuUsage: (allocation.cpu_millis / 1_000) * busy,
    memoryUsage: allocation.memory * filled,
    gpuUsage: allocation.gpus.reduce((sum, { uuid, memory }) => {
      return sum + busyShare(gpus.get(uuid), memory);
    }, 0),
  };
}

/** `memoryMiB` is what is allocated of the GPU; undefined = all of it. */
function busyShare(gpu: GpuMetrics | undefined, memoryMiB: number | undefined): number {
  const busy = (finiteNumber(gpu?.cudaUtilization) ?? 0) / 100;
  const totalMiB = finiteNumber(gpu?.totalMem) ?? 0;
  if (memoryMiB === undefined || totalMiB <= 0) return busy;
  return busy * Math.min(1, memoryMiB / totalMiB);
}

function joined(before: AttributedUsage | undefined, more: AttributedUsage): AttributedUsage {
  if (before === undefined) return more;
  const times = [before.atMs, more.atMs].filter((atMs) => atMs !== undefined);
  return {
    cpuUsage: before.cpuUsage + more.cpuUsage,
    memoryUsage: before.memoryUsage + more.memoryUsage,
    gpuUsage: before.gpuUsage + more.gpuUsage,
    atMs: times.length === 0 ? undefined : Math.min(...times),
  };
}
