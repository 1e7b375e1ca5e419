import type { MetricFamily, Observation } from "@berth/service-kit";
import type { GpuReading } from "../nodes/inventory.ts";
import type { ScrapedGpu, ScrapedNode, ScrapeSnapshot } from "./scrape-snapshot.ts";

const MIB = 1_048_576;
const NODE_LABELS = ["cluster", "node"] as const;
const GPU_LABELS = ["cluster", "node", "gpu", "uuid"] as const;

/**
 * What Prometheus is told of the nodes of a cluster. Labels: `cluster`, `node`, `gpu` (its slot) and `uuid`.
 * Values that are not of now have no series.
 */
export function clusterFamilies(
  cluster: string,
  snapshot: () => ScrapeSnapshot,
): readonly MetricFamily[] {
  return [
    ...countFamilies(cluster, snapshot),
    ...nodeFamilies(cluster, () => snapshot().nodes),
    ...gpuFamilies(cluster, () => snapshot().gpus),
  ];
}

function countFamilies(cluster: string, snapshot: () => ScrapeSnapshot): MetricFamily[] {
  const counted = (
    [name, help, label]: readonly [name: string, help: string, label: string],
    counts: (of: ScrapeSnapshot["counts"]) => Readonly<Record<string, number>>,
  ): MetricFamily => ({
    ...{ name, help, type: "gauge", labels: ["cluster", label] },
    observe: () =>
      Object.entries(counts(snapshot().counts)).map(([value, count]) => ({
        value: count,
        labels: { cluster, [label]: value },
      })),
  });
  return [
    counted(
      ["berth_cluster_nodes", "Nodes by status.", "status"],
      ({ liveNodes: healthy, otherNodes: unhealthy }) => ({ healthy, unhealthy }),
    ),
    counted(
      ["berth_cluster_gpus", "GPUs by state.", "state"],
      ({ freeGpus: free, unhealthyGpus: unhealthy }) => ({ free, unhealthy }),
    ),
    counted(
      [
        "berth_scrape_series_dropped",
        "Nodes and GPUs that are not told one by one, because there are too many.",
        "kind",
      ],
      ({ droppedNodes: node, droppedGpus: gpu }) => ({ node, gpu }),
    ),
    {
      name: "berth_cluster_gpu_utilization_ratio",
      help: "Mean share of time in which a kernel ran, over the GPUs of live nodes, 0-1.",
      type: "gauge",
      labels: ["cluster"],
      observe: () => {
        const { gpuUtilizationPercent: percent } = snapshot();
        return percent === undefined ? [] : [{ value: percent / 100, labels: { cluster } }];
      },
    },
  ];
}

function nodeFamilies(cluster: string, nodes: () => readonly ScrapedNode[]): MetricFamily[] {
  const family = (
    name: string,
    help: string,
    value: (scraped: ScrapedNode) => number | undefined,
  ): MetricFamily => ({
    ...{ name, help, type: "gauge", labels: NODE_LABELS },
    observe: () =>
      nodes().flatMap((scraped) => {
        const labels = { cluster, node: scraped.node.id };
        return observed(value(scraped), labels);
      }),
  });
  return [
    family("berth_node_up", "Whether the node is live.", ({ node }) =>
      Number(node.liveness === "live"),
    ),
    family(
      "berth_node_report_age_seconds",
      "Time since the node was heard, or since this agent started, in seconds.",
      ({ node }) => node.silentMs / 1_000,
    ),
    family("berth_node_cpu_utilization_ratio", "Busy share of all processors, 0-1.", ({ host }) =>
      times(host?.cpuUtilizationPercent, 1 / 100),
    ),
    family("berth_node_memory_used_bytes", "Memory that programs hold, in bytes.", ({ host }) =>
      times(host?.memoryUsedMiB, MIB),
    ),
    family(
      "berth_node_memory_total_bytes",
      "Memory of the node, in bytes.",
      ({ node }) => node.inventory.memoryMiB * MIB,
    ),
  ];
}

function gpuFamilies(cluster: string, gpus: () => readonly ScrapedGpu[]): MetricFamily[] {
  const labelsOf = ({ node, slot }: ScrapedGpu) => {
    return { cluster, node: node.id, gpu: String(slot), uuid: node.slots[slot]?.uuid ?? "" };
  };
  const read = (
    name: string,
    help: string,
    value: (reading: GpuReading) => number | undefined,
  ): MetricFamily => ({
    ...{ name, help, type: "gauge", labels: GPU_LABELS },
    observe: () =>
      gpus().flatMap((gpu) => observed(gpu.reading && value(gpu.reading), labelsOf(gpu))),
  });
  return [
    read("berth_gpu_utilization_ratio", "Share of time in which a kernel ran, 0-1.", (reading) =>
      times(reading.utilizationPercent, 1 / 100),
    ),
    read("berth_gpu_memory_used_bytes", "Memory in use, in bytes.", (reading) =>
      times(reading.memoryUsedMiB, MIB),
    ),
    {
      name: "berth_gpu_memory_total_bytes",
      help: "Memory of the GPU, in bytes.",
      type: "gauge",
      labels: GPU_LABELS,
      observe: () =>
        gpus().flatMap((gpu) =>
          observed(times(gpu.node.slots[gpu.slot]?.memoryMiB, MIB), labelsOf(gpu)),
        ),
    },
    read(
      "berth_gpu_temperature_celsius",
      "Temperature of the GPU, in degrees Celsius.",
      (reading) => reading.temperatureC,
    ),
    read("berth_gpu_power_watts", "Power draw, in watts.", (reading) => reading.powerW),
    {
      ...read(
        "berth_gpu_ecc_uncorrected_total",
        "Uncorrected ECC errors since the driver was loaded.",
        (reading) => reading.eccUncorrectedTotal,
      ),
      type: "counter",
    },
    {
      name: "berth_gpu_state",
      help: "Always 1; the label says what the GPU can be used for.",
      type: "gauge",
      labels: [...GPU_LABELS, "state"],
      observe: () =>
        gpus().map((gpu) => ({
          value: 1,
          labels: { ...labelsOf(gpu), state: gpu.node.verdicts[gpu.slot]?.state ?? "unhealthy" },
        })),
    },
  ];
}

function observed(
  value: number | undefined,
  labels: Readonly<Record<string, string>>,
): Observation[] {
  return value === undefined ? [] : [{ value, labels }];
}

function times(value: number | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : value * factor;
}
