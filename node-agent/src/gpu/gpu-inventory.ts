import {
  type GpuInfo,
  GpuInfoSchema,
  type GpuTopology,
  GpuTopologySchema,
  type MigDeviceInfo,
  MigDeviceInfoSchema,
} from "@berth/proto";
import { clone, create, equals } from "@bufbuild/protobuf";
import type { GpuInventory } from "./gpu-source.ts";
import type { ListedMigDevices } from "./smi-list.ts";
import type { SmiEnd } from "./smi-process.ts";
import { type TopologyMatrix, topologyOf } from "./smi-topology.ts";
import { pick } from "./smi-value.ts";
import type { LoggedGpu, LoggedMigDevice, SmiLog } from "./smi-xml.ts";

/** What is known of the set of GPUs. */
export interface KnownGpus {
  /** As the CSV query gives them, in the driver's order. */
  readonly gpus: readonly GpuInfo[];
  /** What could not be listed and why; "" = nothing. */
  readonly error: string;
  /** Lines beside the answer, see `GpuInventory.remarks`. */
  readonly remarks: readonly string[];
}

/** Answer of one inventory query. */
export type GpuListing =
  /** The driver listed its GPUs (none is possible). */
  | ({ readonly kind: "listed" } & KnownGpus)
  /** There is no `nvidia-smi` here: a node without GPUs. */
  | { readonly kind: "no_driver" }
  /** There is one, and it failed: `error` is its first line, or what went wrong. */
  | { readonly kind: "failed"; readonly error: string }
  /** It was killed at the deadline and did not die, or an earlier child has not died yet. */
  | { readonly kind: "driver_hung" }
  /** The monitor was stopped. */
  | { readonly kind: "aborted" };

/** What is asked at start and when the set of GPUs has changed; undefined = the driver did not say. */
export interface GpuSurvey {
  /** The GPUs that were surveyed, with the indexes they had. */
  readonly gpus: readonly GpuInfo[];
  readonly parts: ListedMigDevices | undefined;
  readonly matrix: TopologyMatrix | undefined;
  readonly log: SmiLog | undefined;
  /** A query got no answer at all; it is asked again after the next listing. */
  readonly incomplete: boolean;
}

/** What an inventory is made of. */
export interface InventorySources {
  readonly known: KnownGpus;
  readonly survey: GpuSurvey | undefined;
  readonly driverHung: boolean;
  /** Lines beside the newest log. */
  readonly logRemarks: readonly string[];
}

const MAX_REMARKS = 16;
const MAX_REMARK_LENGTH = 300;
const UNREACHABLE = /^Unable to determine the device handle/;
const DRIVER_HUNG = "driver_hung: nvidia-smi did not die after SIGKILL";

/** Whether the driver says with this line that it cannot reach a GPU. */
export function tellsOfLostGpu(line: string): boolean {
  return UNREACHABLE.test(line);
}

/** Lines as `GpuInventory.remarks` holds them: each once, cut, and few. */
export function remarksOf(lines: readonly string[]): string[] {
  const cut = lines.map((line) => line.slice(0, MAX_REMARK_LENGTH).toWellFormed());
  return [...new Set(cut)].slice(0, MAX_REMARKS);
}

/** Turns an ended query into a listing; `others` are the lines that are no GPU. */
export function judge(
  end: Exclude<SmiEnd, { kind: "abandoned" }>,
  gpus: readonly GpuInfo[],
  others: readonly string[],
): GpuListing {
  if (end.kind === "not_found") return { kind: "no_driver" };
  if (end.kind === "not_started") {
    return { kind: "failed", error: `nvidia-smi could not be started: ${end.message}` };
  }
  const remarks = remarksOf(others);
  const [first = ""] = remarks;
  const how = end.signal === null ? `code ${end.code}` : `signal ${end.signal}`;
  if (gpus.length > 0) {
    // Some drivers end with 0 although a GPU does not answer; and a crash in the middle prints no reason.
    const lost = remarks.find(tellsOfLostGpu);
    const failure = first === "" ? `nvidia-smi ended with ${how} in the middle of its list` : first;
    return { kind: "listed", gpus, error: lost ?? (end.code === 0 ? "" : failure), remarks };
  }
  if (first.startsWith("No devices were found")) {
    return { kind: "listed", gpus: [], error: first, remarks: [] };
  }
  if (first !== "") return { kind: "failed", error: first };
  return { kind: "failed", error: `nvidia-smi ended with ${how} and listed no GPU` };
}

/**
 * The GPUs after a listing: when the driver could not list, those it listed before are kept, with the
 * error beside them; they are still in the machine as far as anyone knows.
 */
export function nextKnown(before: KnownGpus, listing: GpuListing): KnownGpus {
  if (listing.kind === "listed") {
    return { gpus: listing.gpus, error: listing.error, remarks: listing.remarks };
  }
  if (listing.kind === "failed") return { ...before, error: listing.error };
  if (listing.kind !== "no_driver") return before;
  const vanished = before.gpus.length > 0 ? "nvidia-smi is no longer installed" : "";
  return { ...before, error: vanished };
}

/** Whether a survey of the one set of GPUs says nothing of the other. */
export function isOtherSet(a: readonly GpuInfo[], b: readonly GpuInfo[]): boolean {
  if (a.length !== b.length) return true;
  return a.some((gpu, at) => {
    const other = b[at];
    return (
      gpu.uuid !== other?.uuid ||
      gpu.driverIndex !== other.driverIndex ||
      gpu.migEnabled !== other.migEnabled
    );
  });
}

/** Puts the inventory together. */
export function inventoryOf(sources: InventorySources): GpuInventory {
  const { known, survey, driverHung, logRemarks } = sources;
  const gpus = known.gpus.map((gpu) => described(gpu, survey));
  return {
    gpus,
    error: driverHung ? DRIVER_HUNG : known.error,
    driverHung,
    topology: survey?.matrix && topologyOf(survey.matrix, survey.gpus, gpus),
    remarks: remarksOf([...known.remarks, ...logRemarks]),
  };
}

function described(gpu: GpuInfo, survey: GpuSurvey | undefined): GpuInfo {
  const logged = survey?.log?.gpus.find((one) => one.uuid === gpu.uuid);
  const info = clone(GpuInfoSchema, gpu);
  info.cudaVersion = survey?.log?.cudaVersion ?? "";
  if (logged?.minorNumber !== undefined) info.minorNumber = logged.minorNumber;
  const limitW = gpu.powerLimitW ?? logged?.powerLimitW;
  if (limitW !== undefined) info.powerLimitW = limitW;
  if (gpu.migEnabled === true) info.migDevices = partsOf(gpu.uuid, survey, logged);
  return info;
}

function partsOf(
  uuid: string,
  survey: GpuSurvey | undefined,
  logged: LoggedGpu | undefined,
): MigDeviceInfo[] {
  const listed = survey?.parts?.get(uuid) ?? [];
  return listed.flatMap((part) => {
    const device = logged?.migDevices.find(({ index }) => index === part.index);
    // Without its instance ids a part cannot be told from others; the next survey may know them.
    if (device === undefined) return [];
    const { index, gpuInstanceId, computeInstanceId, memoryMib } = device;
    const ids = { uuid: part.uuid, index, gpuInstanceId, computeInstanceId };
    const one = { ...ids, profile: part.profile, ...pick("memoryMib", memoryMib) };
    return [create(MigDeviceInfoSchema, one)];
  });
}

/** Whether a log shows other MIG parts than the survey knows, so that another survey is needed. */
export function hasOtherParts(log: SmiLog, survey: GpuSurvey): boolean {
  return log.gpus.some(({ uuid, migDevices }) => {
    const before = survey.log?.gpus.find((gpu) => gpu.uuid === uuid);
    const known = survey.parts === undefined ? [] : (before?.migDevices ?? []);
    return partKeys(migDevices) !== partKeys(known);
  });
}

function partKeys(parts: readonly LoggedMigDevice[]): string {
  const keys = parts.map((part) =>
    [part.index, part.gpuInstanceId, part.computeInstanceId].join("/"),
  );
  return keys.sort().join();
}

/** Whether two inventories say the same. */
export function isSameInventory(a: GpuInventory, b: GpuInventory): boolean {
  return (
    a.error === b.error &&
    a.driverHung === b.driverHung &&
    a.remarks.join("\n") === b.remarks.join("\n") &&
    a.gpus.length === b.gpus.length &&
    a.gpus.every((gpu, at) => isSameGpu(gpu, b.gpus[at])) &&
    isSameTopology(a.topology, b.topology)
  );
}

function isSameGpu(a: GpuInfo, b: GpuInfo | undefined): boolean {
  return b !== undefined && equals(GpuInfoSchema, a, b);
}

function isSameTopology(a: GpuTopology | undefined, b: GpuTopology | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return equals(GpuTopologySchema, a, b);
}
