import type { GpuInfo, GpuSample } from "@berth/proto";
import type { MetricFamily, Observation } from "@berth/service-kit/base";
import { GPU_CHILD_STATES, type GpuSource } from "../gpu/gpu-source.ts";
import { qualityName } from "./quality-name.ts";

const MIB = 1_048_576;
const MHZ = 1_000_000;
/** The slot of a GPU is the cluster-agent's to give; the driver's index changes with the set. */
const LABELS = ["uuid", "index"];

type Source = Pick<GpuSource, "inventory" | "samples" | "activity">;
type Labels = Readonly<Record<string, string>>;
type Read = (sample: GpuSample) => number | undefined;

/**
 * Families of the GPUs for Prometheus, one value for each GPU that the driver lists, and of the sampling
 * itself. What a sample does not say ("[N/A]", a lost driver) has no value.
 */
export function gpuFamilies(gpu: Source): MetricFamily[] {
  return [...valueFamilies(gpu), ...labelFamilies(gpu), ...samplingFamilies(gpu)];
}

function valueFamilies(gpu: Source): MetricFamily[] {
  const family = (type: MetricFamily["type"]) => (name: string, help: string, read: Read) => ({
    name,
    help,
    type,
    labels: LABELS,
    observe: () => each(gpu, (sample, labels) => labelled(read(sample), labels)),
  });
  const gauge = family("gauge");
  const counter = family("counter");
  return [
    gauge("berth_gpu_utilization_ratio", "Share of time in which a kernel ran, 0 to 1.", (sample) =>
      scaled(sample.utilizationPercent, 0.01),
    ),
    gauge(
      "berth_gpu_memory_utilization_ratio",
      "Share of time in which memory was used, 0 to 1.",
      (s) => scaled(s.memoryUtilizationPercent, 0.01),
    ),
    gauge("berth_gpu_memory_used_bytes", "GPU memory in use, in bytes.", (sample) =>
      scaled(sample.memoryUsedMib, MIB),
    ),
    gauge("berth_gpu_memory_free_bytes", "GPU memory that can be had, in bytes.", (sample) =>
      scaled(sample.memoryFreeMib, MIB),
    ),
    gauge("berth_gpu_temperature_celsius", "Temperature of the GPU.", (s) => s.temperatureC),
    gauge("berth_gpu_power_watts", "Power that the GPU draws.", ({ powerW }) => powerW),
    gauge("berth_gpu_power_limit_watts", "Power that it may draw.", (s) => s.powerLimitW),
    gauge("berth_gpu_sm_clock_hertz", "Clock of the processors.", (s) => scaled(s.smClockMhz, MHZ)),
    gauge("berth_gpu_memory_clock_hertz", "Clock of the memory.", (sample) =>
      scaled(sample.memoryClockMhz, MHZ),
    ),
    counter("berth_gpu_ecc_uncorrected_total", "Uncorrected memory errors over its life.", (s) =>
      scaled(s.eccUncorrectedTotal, 1),
    ),
    gauge(
      "berth_gpu_sample_age_seconds",
      "Age of the newest sample.",
      ({ ageMs }) => ageMs / 1_000,
    ),
  ];
}

function labelFamilies(gpu: Source): MetricFamily[] {
  return [
    {
      name: "berth_gpu_memory_total_bytes",
      help: "GPU memory, in bytes.",
      type: "gauge",
      labels: LABELS,
      observe: () =>
        gpu
          .inventory()
          .gpus.flatMap((info) => labelled(scaled(info.memoryMib, MIB), labelsOf(info.uuid, info))),
    },
    {
      name: "berth_gpu_info",
      help: "Always 1; the labels say which GPU and driver this is.",
      type: "gauge",
      labels: [...LABELS, "model", "driver"],
      observe: () =>
        gpu.inventory().gpus.map((info) => {
          const { modelName: model, driverVersion: driver } = info;
          return { value: 1, labels: { ...labelsOf(info.uuid, info), model, driver } };
        }),
    },
    {
      name: "berth_gpu_sample_quality",
      help: "Always 1; the label says what the newest sample is worth.",
      type: "gauge",
      labels: [...LABELS, "quality"],
      observe: () =>
        each(gpu, ({ quality }, labels) => [
          { value: 1, labels: { ...labels, quality: qualityName(quality) } },
        ]),
    },
    {
      name: "berth_gpu_throttle_reason",
      help: "1 for each reason for which the clocks are held down.",
      type: "gauge",
      labels: [...LABELS, "reason"],
      observe: () =>
        each(gpu, ({ throttleReasons }, labels) =>
          throttleReasons.map((reason) => ({ value: 1, labels: { ...labels, reason } })),
        ),
    },
  ];
}

function samplingFamilies(gpu: Source): MetricFamily[] {
  const gauge = (name: string, help: string, read: () => number) =>
    ({ name, help, type: "gauge", observe: () => [{ value: read() }] }) satisfies MetricFamily;
  return [
    {
      name: "berth_gpu_child",
      help: "1 for the state that the sampling child of nvidia-smi is in, 0 for the others.",
      type: "gauge",
      labels: ["state"],
      observe: () => {
        const { child } = gpu.activity();
        return GPU_CHILD_STATES.map((state) => {
          return { value: state === child ? 1 : 0, labels: { state } };
        });
      },
    },
    {
      name: "berth_gpu_child_restarts_total",
      help: "Sampling children that were started after the first one.",
      type: "counter",
      observe: () => [{ value: Math.max(0, gpu.activity().childStarts - 1) }],
    },
    gauge(
      "berth_gpu_sample_interval_seconds",
      "Time between two samples that is in force; longer than the wanted one while nvidia-smi is dear.",
      () => gpu.activity().intervalMs / 1_000,
    ),
    gauge(
      "berth_gpu_sample_interval_wanted_seconds",
      "Time between two samples that the cluster-agent asked for; 0 before it did.",
      () => gpu.activity().wantedIntervalMs / 1_000,
    ),
    gauge("berth_gpu_inventory_error", "1 while the GPUs cannot be listed in full, else 0.", () =>
      gpu.inventory().error === "" ? 0 : 1,
    ),
  ];
}

/** What `read` makes of each sample, with the labels of its GPU. */
function each(
  gpu: Source,
  read: (sample: GpuSample, labels: Labels) => Observation[],
): Observation[] {
  const infos = new Map(gpu.inventory().gpus.map((info) => [info.uuid, info]));
  return gpu.samples().flatMap((sample) => {
    return read(sample, labelsOf(sample.uuid, infos.get(sample.uuid)));
  });
}

function labelsOf(uuid: string, info: GpuInfo | undefined): Labels {
  return { uuid, index: info === undefined ? "" : String(info.driverIndex) };
}

function labelled(value: number | undefined, labels: Labels): Observation[] {
  return value === undefined ? [] : [{ value, labels }];
}

function scaled(value: number | bigint | undefined, factor: number): number | undefined {
  return value === undefined ? undefined : Number(value) * factor;
}
