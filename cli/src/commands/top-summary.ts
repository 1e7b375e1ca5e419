import { type FleetResource, type FleetRow, isStaleRow, numberIn } from "../client/fleet-rows.ts";
import { at, textAt } from "../cluster-view.ts";

/** A use and its capacity; undefined where nobody tells. */
export interface Share {
  readonly used: number | undefined;
  readonly total: number | undefined;
}

/** What rows come to altogether. Measurements are of rows that are not stale; counts are of all. */
export interface TopSummary {
  /** What there is, for people: "3 clusters (2 live, 1 unreachable)", "96 GPUs (80 free)". */
  readonly counts: readonly string[];
  /** Mean over the GPUs, 0-100. */
  readonly gpuUtilization: number | undefined;
  /** MiB. */
  readonly gpuMemory: Share;
  /** Cores. */
  readonly cores: Share;
  /** MiB. */
  readonly memory: Share;
  /** W. */
  readonly power: number | undefined;
  /** How many of the rows are made up by a simulator. */
  readonly simulated: "all" | "some" | "none";
}

const NONE: Share = { used: undefined, total: undefined };

/** Sums rows up. */
export function summaryOf(resource: FleetResource, rows: readonly FleetRow[]): TopSummary {
  const fresh = rows.filter((row) => !isStaleRow(row));
  const common = { power: sum(fresh, "power"), simulated: simulatedShare(rows) };
  if (resource === "clusters") {
    return {
      ...common,
      counts: [groups(rows, "cluster", "status"), nodesText(rows), gpusText(rows)],
      gpuUtilization: weightedMean(fresh, "gpu_utilization"),
      gpuMemory: share(fresh, "gpu_memory_used", "gpu_memory_total"),
      cores: share(fresh, "used_cpu", "total_cpu"),
      memory: share(fresh, "used_memory", "total_memory"),
    };
  }
  if (resource === "nodes") {
    return {
      ...common,
      counts: [groups(rows, "node", "status"), gpusText(rows)],
      gpuUtilization: weightedMean(fresh, "gpu_utilization"),
      gpuMemory: share(fresh, "gpu_memory_used", "gpu_memory_total"),
      cores: { used: usedCores(fresh), total: sum(fresh, "cpu_count") },
      memory: share(fresh, "memory_used", "memory_total"),
    };
  }
  return {
    ...common,
    counts: [groups(rows, "GPU", "state")],
    gpuUtilization: mean(fresh.map((row) => numberIn(row, "utilization"))),
    gpuMemory: share(fresh, "memory_used", "memory_total"),
    cores: NONE,
    memory: NONE,
  };
}

/** Rows by use: the busiest first, those of which nothing is known last, then by name. */
export function byUse(resource: FleetResource, rows: readonly FleetRow[]): readonly FleetRow[] {
  const keyed = rows.map((row) => ({
    row,
    uses: USES[resource].map((member) => numberIn(row, member) ?? Number.NEGATIVE_INFINITY),
    names: ["cluster_id", "node_id", "id"].map((member) => String(at(row, member) ?? "")),
  }));
  keyed.sort((a, b) => {
    const order = firstDifference(b.uses, a.uses, (x, y) => (x === y ? 0 : x < y ? -1 : 1));
    return order === 0 ? firstDifference(a.names, b.names, byName) : order;
  });
  return keyed.map(({ row }) => row);
}

const USES: Readonly<Record<FleetResource, readonly string[]>> = {
  clusters: ["gpu_utilization", "gpu_memory_used", "used_cpu"],
  nodes: ["gpu_utilization", "gpu_memory_used", "cpu_utilization"],
  gpus: ["utilization", "memory_used", "power"],
};
const { compare: byName } = new Intl.Collator("en", { numeric: true });

/** Order of two lists by their first items that differ; 0 when none does. */
function firstDifference<Item>(
  a: readonly Item[],
  b: readonly Item[],
  order: (x: Item, y: Item) => number,
): number {
  for (const [i, x] of a.entries()) {
    const found = order(x, b[i] ?? x);
    if (found !== 0) return found;
  }
  return 0;
}

/** "3 clusters (2 live, 1 unreachable)", the largest group first. */
function groups(rows: readonly FleetRow[], noun: string, member: string): string {
  const counts = new Map<string, number>();
  for (const row of rows) {
    const group = textAt(row, member) ?? "unknown";
    counts.set(group, (counts.get(group) ?? 0) + 1);
  }
  const parts = [...counts]
    .sort((a, b) => b[1] - a[1])
    .map(([group, count]) => `${count} ${group}`);
  const what = plural(rows.length, noun);
  return parts.length === 0 ? what : `${what} (${parts.join(", ")})`;
}

function nodesText(rows: readonly FleetRow[]): string {
  const nodes = sum(rows, "nodes") ?? 0;
  return `${plural(nodes, "node")} (${sum(rows, "healthy_nodes") ?? 0} healthy)`;
}

function gpusText(rows: readonly FleetRow[]): string {
  const gpus = sum(rows, "gpus") ?? 0;
  const free = sum(rows, "free_gpus") ?? 0;
  const unhealthy = sum(rows, "unhealthy_gpus") ?? 0;
  if (gpus === 0) return plural(gpus, "GPU");
  return `${plural(gpus, "GPU")} (${free} free, ${unhealthy} unhealthy)`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function simulatedShare(rows: readonly FleetRow[]): TopSummary["simulated"] {
  const count = rows.filter((row) => at(row, "simulated") === true).length;
  if (count === 0) return "none";
  return count === rows.length ? "all" : "some";
}

function sum(rows: readonly FleetRow[], member: string): number | undefined {
  return total(rows.map((row) => numberIn(row, member)));
}

function total(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length === 0 ? undefined : known.reduce((all, value) => all + value, 0);
}

function mean(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  const all = total(known);
  return all === undefined ? undefined : all / known.length;
}

/** Over rows that tell both: a use without its capacity is no share. */
function share(rows: readonly FleetRow[], used: string, capacity: string): Share {
  const known = rows.filter((row) => numberIn(row, used) !== undefined);
  const both = known.filter((row) => numberIn(row, capacity) !== undefined);
  return both.length === 0
    ? { used: undefined, total: sum(rows, capacity) }
    : { used: sum(both, used), total: sum(both, capacity) };
}

function weightedMean(rows: readonly FleetRow[], member: string): number | undefined {
  let [weighted, gpus] = [0, 0];
  for (const row of rows) {
    const value = numberIn(row, member);
    const count = numberIn(row, "gpus") ?? 0;
    if (value === undefined) continue;
    weighted += value * count;
    gpus += count;
  }
  return gpus === 0 ? undefined : weighted / gpus;
}

function usedCores(rows: readonly FleetRow[]): number | undefined {
  return total(
    rows.map((row) => {
      const cores = numberIn(row, "cpu_count");
      const percent = numberIn(row, "cpu_utilization");
      return cores === undefined || percent === undefined ? undefined : (cores * percent) / 100;
    }),
  );
}
