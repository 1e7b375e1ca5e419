import { clusterTotals, gpuCounts } from "../fleet/cluster-totals.ts";
import type { ClusterView } from "../fleet/cluster-view.ts";
import type { AgedRow, ClusterRow } from "./rows.ts";
import { gpusOf, isSimulated, nodesOf } from "./rows-gpu.ts";
import { gpuSums } from "./rows-node.ts";
import { numberOf, plus, textOf } from "./rows-read.ts";

/** The row of one cluster, made with pauses: large ones take milliseconds. */
export function* clusterRow(view: ClusterView): Generator<void, AgedRow<ClusterRow>> {
  const { document } = view;
  const entries = nodesOf(view);
  let healthy = 0;
  let total: number | null = null;
  let used: number | null = null;
  let power: number | null = null;
  let simulated = document.simulated === true;
  for (const entry of entries) {
    const metrics = view.nodes.get(entry.id);
    const node = { entry, metrics };
    const sums = gpuSums(view, gpusOf(node));
    if (view.health === "live" && metrics?.status === "healthy") healthy += 1;
    total = plus(total, sums.gpu_memory_total);
    used = plus(used, sums.gpu_memory_used);
    power = plus(power, sums.power);
    simulated ||= isSimulated(node);
    yield;
  }
  const { total: gpus, byState } = gpuCounts(view);
  const { total_gpus: _ofLiveNodes, ...totals } = clusterTotals(view);
  return {
    body: {
      id: view.id,
      status: view.health,
      simulated,
      region_id: textOf(document.regionId),
      nodes: Math.max(
        entries.length,
        view.health === "unknown" ? (numberOf(document.nodes?.count) ?? 0) : 0,
      ),
      healthy_nodes: healthy,
      gpus,
      free_gpus: byState.get("free") ?? 0,
      unhealthy_gpus: byState.get("unhealthy") ?? 0,
      ...totals,
      gpu_memory_total: total,
      gpu_memory_used: used,
      power,
    },
    born: view.reportedAtMs === null ? null : { atMs: view.reportedAtMs },
  };
}
