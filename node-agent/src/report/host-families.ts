import type { HostSample } from "@berth/proto";
import type { MetricFamily, Observation } from "@berth/service-kit/base";
import type { HostSource } from "../host/host-source.ts";
import { qualityName } from "./quality-name.ts";

const MIB = 1_048_576;

/** Families of the host for Prometheus. What a sample does not say has no value. */
export function hostFamilies(host: Pick<HostSource, "facts" | "sample">): MetricFamily[] {
  const gauge = (name: string, help: string, read: (sample: HostSample) => number | undefined) =>
    ({
      name,
      help,
      type: "gauge",
      observe: () => one(host.sample(), read),
    }) satisfies MetricFamily;
  return [
    gauge("berth_node_cpu_utilization_ratio", "Share of the processors in use, 0 to 1.", (sample) =>
      ratio(sample.cpuUtilizationPercent),
    ),
    gauge("berth_node_memory_used_bytes", "Memory in use, in bytes.", (sample) =>
      bytes(sample.memoryUsedMib),
    ),
    gauge(
      "berth_node_memory_available_bytes",
      "Memory that programs can have, in bytes.",
      (sample) => bytes(sample.memoryAvailableMib),
    ),
    {
      name: "berth_node_memory_total_bytes",
      help: "Memory of the node, in bytes.",
      type: "gauge",
      observe: () => one(host.facts(), ({ memoryMib }) => bytes(memoryMib)),
    },
    gauge("berth_node_swap_used_bytes", "Swap space in use, in bytes.", (sample) =>
      bytes(sample.swapUsedMib),
    ),
    gauge("berth_node_load1", "Load average of 1 minute.", ({ load1m }) => load1m),
    gauge("berth_node_load5", "Load average of 5 minutes.", ({ load5m }) => load5m),
    gauge("berth_node_load15", "Load average of 15 minutes.", ({ load15m }) => load15m),
    gauge("berth_node_sample_age_seconds", "Age of the newest host sample.", seconds),
    {
      name: "berth_node_sample_quality",
      help: "Always 1; the label says what the newest host sample is worth.",
      type: "gauge",
      labels: ["quality"],
      observe: () => {
        const sample = host.sample();
        if (sample === undefined) return [];
        return [{ value: 1, labels: { quality: qualityName(sample.quality) } }];
      },
    },
  ];
}

function one<T>(source: T | undefined, read: (source: T) => number | undefined): Observation[] {
  const value = source === undefined ? undefined : read(source);
  return value === undefined ? [] : [{ value }];
}

function seconds({ ageMs }: HostSample): number {
  return ageMs / 1_000;
}

function ratio(percent: number | undefined): number | undefined {
  return percent === undefined ? undefined : percent / 100;
}

function bytes(mebibytes: bigint | undefined): number | undefined {
  return mebibytes === undefined ? undefined : Number(mebibytes) * MIB;
}
