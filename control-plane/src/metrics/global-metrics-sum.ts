import type { ClusterTotals } from "@berth/proto";
import {
  GPU_STATES,
  type GpuCounts,
  gpuCounts,
  isLive,
  numberIn,
  raise,
  sum,
  utilizationOf,
} from "../fleet/cluster-totals.ts";
import type { ClusterHealth, ClusterView } from "../fleet/cluster-view.ts";
import type { MetricsDocument } from "./global-metrics-document.ts";

/** Most models that are told one by one; the rarest beyond are "other". */
const MAX_MODELS = 100;
const OTHER_MODELS = "other";

/** Sums over several clusters, as `/cluster/aggregate` answers them. */
export interface MetricsSum extends ClusterTotals {
  readonly clusters: Readonly<Record<ClusterHealth | "total", number>>;
  /** All nodes, and those of reachable clusters that report. */
  readonly nodes: { readonly total: number; readonly healthy: number };
  /** All GPUs that documents list, also those of dead nodes. */
  readonly gpus: {
    readonly count: number;
    readonly by_state: Readonly<Record<string, number>>;
    readonly by_model: Readonly<Record<string, number>>;
  };
}

/** The keys of {@link ClusterTotals} that are sums. */
const SUMS = ["total_cpu", "used_cpu", "total_memory", "used_memory", "total_gpus"] as const;

/**
 * Sums over clusters. An unreachable cluster counts as such, and its GPUs as unhealthy; its last known totals
 * are left out, because nobody knows what is left of them.
 */
export class MetricsSummer {
  readonly #clusters = { total: 0, live: 0, unreachable: 0, unknown: 0 };
  readonly #nodes = { total: 0, healthy: 0 };
  readonly #totals: ClusterTotals[] = [];
  readonly #byState = new Map<string, number>(GPU_STATES.map((state) => [state, 0]));
  readonly #byModel = new Map<string, number>();
  #gpus = 0;
  readonly #utilization = { sum: 0, count: 0 };

  /** Adds a cluster. */
  add({ view, totals }: MetricsDocument): void {
    this.#clusters.total += 1;
    this.#clusters[view.health] += 1;
    const listed = view.document.nodes?.nodeData?.length ?? 0;
    this.#nodes.total += numberIn(view.document.nodes, "count") ?? listed;
    this.#addGpus(gpuCounts(view));
    if (view.health === "unreachable") return;
    this.#totals.push(totals);
    this.#addNodes(view);
  }

  /** The sums so far; 0 of nothing, null where clusters are and none tells. */
  result(): MetricsSum {
    const { sum: utilization, count } = this.#utilization;
    const sums = SUMS.map((key) => [key, sum(this.#totals.map((of) => of[key] ?? undefined))]);
    return {
      clusters: this.#clusters,
      nodes: this.#nodes,
      ...(Object.fromEntries(sums) as Record<(typeof SUMS)[number], number | null>),
      gpu_utilization: count === 0 || !Number.isFinite(utilization) ? null : utilization / count,
      gpus: {
        count: this.#gpus,
        by_state: Object.fromEntries(this.#byState),
        by_model: Object.fromEntries(largest(this.#byModel)),
      },
    };
  }

  #addGpus({ total, byState, byModel }: GpuCounts): void {
    this.#gpus += total;
    for (const [state, count] of byState) raise(this.#byState, state, count);
    for (const [model, count] of byModel) raise(this.#byModel, model, count);
  }

  #addNodes({ metrics }: ClusterView): void {
    const live = metrics?.nodes.filter(isLive) ?? [];
    this.#nodes.healthy += live.length;
    const { total, count } = utilizationOf(live);
    this.#utilization.sum += total;
    this.#utilization.count += count;
  }
}

/** The most frequent ones by their names, and how many all others are. */
function largest(counts: ReadonlyMap<string, number>): readonly [string, number][] {
  const sorted = [...counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
  const told = sorted.slice(0, MAX_MODELS);
  const others = sorted.slice(MAX_MODELS).reduce((total, [, count]) => total + count, 0);
  return others === 0 ? told : [...told, [OTHER_MODELS, others]];
}
