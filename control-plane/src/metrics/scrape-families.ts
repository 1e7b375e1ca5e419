import type { MetricFamily, Observation } from "@berth/service-kit";
import { GPU_STATES } from "../fleet/cluster-totals.ts";
import type { AllocationCounter } from "./scrape-allocations.ts";
import type { FleetCounts } from "./scrape-counts.ts";

/** Most clusters that are told one by one: each is a label value that Prometheus keeps. */
const MAX_CLUSTERS = 1_000;
const HEALTHS = ["live", "unreachable", "unknown"] as const;

/** What a control-plane counts of itself. */
export interface OwnCounts {
  readonly allocations: Pick<AllocationCounter, "byOutcome" | "seconds">;
  /** The policy sandbox: what each worker does, evaluations that run and that wait. */
  sandbox(): {
    readonly workers: readonly { readonly state: string }[];
    readonly running: number;
    readonly queued: number;
  };
  /** Agents with an open stream. */
  agentLinks(): number;
  webSockets(): number;
  watchers(): number;
  historySeries(): number;
}

/** Families about the fleet, as `counts` gives it when they are scraped. */
export function fleetFamilies(counts: () => FleetCounts): readonly MetricFamily[] {
  const told = () => counts().each.slice(0, MAX_CLUSTERS);
  return [
    gauge("berth_clusters", "Clusters by what is known of their agents.", ["health"], () =>
      HEALTHS.map((health) => ({
        value: counts().clusters.get(health) ?? 0,
        labels: { health },
      })),
    ),
    gauge("berth_nodes", "Nodes of all clusters.", [], () => [{ value: counts().nodes }]),
    gauge("berth_gpus", "GPUs of all clusters by state.", ["state"], () =>
      GPU_STATES.map((state) => ({ value: counts().gpus.get(state) ?? 0, labels: { state } })),
    ),
    gauge("berth_cluster_up", "1 while the cluster's agent reports.", ["cluster"], () =>
      told().map(({ id, isUp }) => ({ value: isUp ? 1 : 0, labels: { cluster: id } })),
    ),
    gauge("berth_cluster_gpus", "GPUs of a cluster by state.", ["cluster", "state"], () =>
      told().flatMap(({ id, gpus }) =>
        [...gpus].map(([state, value]) => ({ value, labels: { cluster: id, state } })),
      ),
    ),
    gauge(
      "berth_scrape_clusters_dropped",
      `Clusters beyond the first ${MAX_CLUSTERS}, which are not told one by one.`,
      [],
      () => [{ value: Math.max(0, counts().each.length - MAX_CLUSTERS) }],
    ),
  ];
}

/** Families about the control-plane itself. */
export function ownFamilies(own: OwnCounts): readonly MetricFamily[] {
  return [
    {
      name: "berth_allocations_total",
      help: "Allocations by how they ended.",
      type: "counter",
      labels: ["outcome"],
      observe: () => byKey(own.allocations.byOutcome, "outcome"),
    },
    gauge("berth_policy_workers", "Workers of the policy sandbox by state.", ["state"], () =>
      byKey(counted(own.sandbox().workers.map(({ state }) => state)), "state"),
    ),
    gauge("berth_policy_evaluations_running", "Evaluations of policies that run.", [], () => [
      { value: own.sandbox().running },
    ]),
    gauge("berth_policy_evaluations_queued", "Evaluations of policies that wait.", [], () => [
      { value: own.sandbox().queued },
    ]),
    gauge("berth_agent_links", "Cluster-agents with an open stream.", [], () => [
      { value: own.agentLinks() },
    ]),
    gauge("berth_websocket_connections", "Open WebSockets.", [], () => [
      { value: own.webSockets() },
    ]),
    gauge("berth_watchers", "Open watches of the fleet.", [], () => [{ value: own.watchers() }]),
    gauge("berth_history_series", "Series of the history in memory.", [], () => [
      { value: own.historySeries() },
    ]),
  ];
}

function gauge(
  name: string,
  help: string,
  labels: readonly string[],
  observe: () => Iterable<Observation>,
): MetricFamily {
  return { name, help, type: "gauge", labels, observe };
}

function byKey(counts: ReadonlyMap<string, number>, label: string): readonly Observation[] {
  return [...counts].map(([key, value]) => ({ value, labels: { [label]: key } }));
}

function counted(values: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}
