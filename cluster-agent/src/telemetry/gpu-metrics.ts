import type { GpuMetrics, GpuProcessEntry } from "@berth/proto";
import { factEntries } from "../nodes/health-facts.ts";
import type {
  GpuDetailsReading,
  GpuInventory,
  GpuProcessReading,
  GpuReading,
  MigReading,
} from "../nodes/inventory.ts";
import type { NodeView, Sampled } from "../nodes/node-view.ts";
import { verdictFields } from "./gpu-state.ts";
import { known, percent } from "./numbers.ts";

/** Dynamic state of the GPU in a slot; what is not known is absent. */
export function gpuMetrics(node: NodeView, position: number): GpuMetrics {
  const verdict = node.verdicts[position];
  const uuid = node.slots[position]?.uuid ?? "";
  const sample = node.gpus.get(uuid);
  const details = node.details.get(uuid);
  const device = node.inventory.gpus.find((gpu) => gpu.uuid === uuid);
  const current = isReadable(sample) ? fresh(details) : undefined;
  const reasons = throttleReasons(node, sample?.reading, current);
  const facts = verdict?.facts ?? [];
  return {
    gpu_id: position,
    id: String(position),
    uuid,
    ...verdictFields(verdict),
    ...numbers({ reading: sample?.reading, current }, device),
    ...(reasons.length === 0 ? {} : { throttleReasons: reasons }),
    ...detailFields(current),
    ...(current === undefined ? {} : known({ details_age_ms: details?.ageMs })),
    ...(facts.length === 0 ? {} : { healthFacts: factEntries(facts) }),
    quality: sample?.quality ?? "unavailable",
    ...(sample === undefined ? {} : { age_ms: sample.ageMs }),
  };
}

/** What was read of a GPU; `current` are details that can stand for a value of now. */
interface GpuReadings {
  readonly reading: GpuReading | undefined;
  readonly current: GpuDetailsReading | undefined;
}

function numbers(
  { reading, current }: GpuReadings,
  device: GpuInventory | undefined,
): Record<string, number> {
  const totalMem = device?.memoryMiB ?? addKnown(reading?.memoryUsedMiB, reading?.memoryFreeMiB);
  return known({
    usedMem: reading?.memoryUsedMiB,
    freeMem: reading?.memoryFreeMiB,
    totalMem,
    memUtilization: percent(reading?.memoryUsedMiB, totalMem),
    cudaUtilization: reading?.utilizationPercent,
    powerUtilization: reading?.powerW ?? current?.powerW,
    temperature: reading?.temperatureC,
    powerLimit: reading?.powerLimitW ?? device?.powerLimitW,
    smClock: reading?.smClockMhz,
    memClock: reading?.memoryClockMhz,
    memBandwidthUtilization: reading?.memoryUtilizationPercent,
    eccUncorrected: reading?.eccUncorrectedTotal,
    eccCorrected: current?.eccCorrectedTotal,
  });
}

/** Some drivers tell them in the details only; one that tells them in samples has newer ones there. */
function throttleReasons(
  { samplesTellReasons }: NodeView,
  reading: GpuReading | undefined,
  current: GpuDetailsReading | undefined,
): readonly string[] {
  if (samplesTellReasons) return reading?.throttleReasons ?? [];
  return current?.throttleReasons ?? [];
}

function detailFields(details: GpuDetailsReading | undefined) {
  if (details === undefined || details.quality === "unavailable") return {};
  const parts = details.migDevices.map(partEntry);
  return {
    processes: details.processes.map(processEntry),
    ...(parts.length === 0 ? {} : { migDevices: parts }),
  };
}

function processEntry({
  pid,
  name,
  memoryUsedMiB,
  instanceId,
}: GpuProcessReading): GpuProcessEntry {
  return {
    pid,
    name,
    ...(memoryUsedMiB === undefined ? {} : { usedMem: memoryUsedMiB }),
    ...(instanceId === undefined ? {} : { instance_id: instanceId }),
  };
}

function partEntry({ uuid, memoryUsedMiB, memoryFreeMiB }: MigReading) {
  return {
    uuid,
    ...(memoryUsedMiB === undefined ? {} : { usedMem: memoryUsedMiB }),
    ...(memoryFreeMiB === undefined ? {} : { freeMem: memoryFreeMiB }),
  };
}

/** Of a GPU that cannot be read now, as its driver hangs, older details say nothing of now. */
function isReadable(sample: Sampled<GpuReading> | undefined): boolean {
  return sample !== undefined && sample.quality !== "unavailable";
}

/** Details that can stand for a value of now. */
function fresh(details: Sampled<GpuDetailsReading> | undefined): GpuDetailsReading | undefined {
  const isOld = details?.quality === "stale" || details?.quality === "unavailable";
  return isOld ? undefined : details?.reading;
}

function addKnown(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b;
}
