import { type LoggedProcess, programsOf } from "./smi-programs.ts";
import { cutLog, type GpuSection } from "./smi-sections.ts";
import {
  answerOf,
  bigOf,
  mebibytesOf,
  numberOf,
  pick,
  switchOf,
  textOf,
  wholeOf,
} from "./smi-value.ts";
import { elementOf, elementsOf, parseXmlTree, textIn, type XmlElement } from "./xml-tree.ts";

/** A part of a GPU that MIG has cut. */
export interface LoggedMigDevice {
  readonly index: number;
  readonly gpuInstanceId: number;
  readonly computeInstanceId: number;
  readonly memoryMib?: bigint;
  readonly memoryUsedMib?: bigint;
  readonly memoryFreeMib?: bigint;
}

/** What the log tells of one GPU; absent = not to be had. */
export interface LoggedGpu {
  readonly uuid: string;
  readonly minorNumber?: number;
  readonly migEnabled?: boolean;
  readonly powerW?: number;
  readonly powerLimitW?: number;
  readonly eccCorrectedTotal?: bigint;
  readonly remappedRowsCorrectable?: number;
  readonly remappedRowsUncorrectable?: number;
  readonly rowRemapPending?: boolean;
  readonly rowRemapFailed?: boolean;
  /** Names as in `throttleReasons`, in the log's order. */
  readonly throttleReasons: readonly string[];
  /** The first of them: at most 256, and at most 1,024 over all GPUs, which fit into one message. */
  readonly processes: readonly LoggedProcess[];
  readonly migDevices: readonly LoggedMigDevice[];
}

/** What `nvidia-smi -q -x` prints. */
export interface SmiLog {
  /** Newest CUDA version that the driver supports; "" where unknown. */
  readonly cudaVersion: string;
  /** Each UUID once. */
  readonly gpus: readonly LoggedGpu[];
  /** Why GPUs are left out whose part of the text may be a program's, for people; absent when none is. */
  readonly doubt?: string;
}

/** Longest text that is read; eight GPUs make about 150,000 characters. */
const MAX_LENGTH = 4_194_304;
const MAX_PROCESSES = 256;
const MAX_ALL_PROCESSES = 1_024;
const MAX_PARTS = 64;

/**
 * Reads the text of `nvidia-smi -q -x` in the forms of all drivers since 450 (document types
 * `nvsmi_device_v11` and `v12`): tags that an older or newer driver does not have are absent values.
 * Lines before the document (warnings) are passed over. Names of programs can be anything, see `cutLog`.
 * Undefined when there is no whole document. Never throws.
 */
export function parseSmiXml(text: string): SmiLog | undefined {
  const cut = text.length > MAX_LENGTH ? undefined : cutLog(text);
  const log = elementOf(parseXmlTree(cut?.head ?? ""), "nvidia_smi_log");
  if (cut === undefined || log === undefined) return undefined;
  const { gpus: sections, doubt } = cut;
  const most = Math.floor(MAX_ALL_PROCESSES / Math.max(1, sections.length));
  const gpus = sections.flatMap((one) => gpuOf(one, Math.min(MAX_PROCESSES, most)));
  const cudaVersion = textAt(log, "cuda_version")?.slice(0, 32) ?? "";
  return { cudaVersion, gpus, ...pick("doubt", doubt) };
}

function gpuOf({ uuid, values, programs }: GpuSection, mostProcesses: number): LoggedGpu[] {
  const gpu = elementOf(parseXmlTree(values), "gpu");
  if (gpu === undefined) return [];
  const power = elementOf(gpu, "gpu_power_readings") ?? elementOf(gpu, "power_readings");
  const draw =
    wattsAt(power, "power_draw") ??
    wattsAt(power, "instant_power_draw") ??
    wattsAt(power, "average_power_draw");
  const limit =
    wattsAt(power, "current_power_limit") ??
    wattsAt(power, "enforced_power_limit") ??
    wattsAt(power, "power_limit");
  const rows = elementOf(gpu, "remapped_rows");
  const one: LoggedGpu = {
    uuid,
    ...pick("minorNumber", wholeOf(textAt(gpu, "minor_number"))),
    ...pick("migEnabled", switchOf(textAt(elementOf(gpu, "mig_mode"), "current_mig"))),
    ...pick("powerW", draw),
    ...pick("powerLimitW", limit),
    ...pick("eccCorrectedTotal", correctedOf(gpu)),
    ...pick("remappedRowsCorrectable", wholeOf(textAt(rows, "remapped_row_corr"))),
    ...pick("remappedRowsUncorrectable", wholeOf(textAt(rows, "remapped_row_unc"))),
    ...pick("rowRemapPending", answerOf(textAt(rows, "remapped_row_pending"))),
    ...pick("rowRemapFailed", answerOf(textAt(rows, "remapped_row_failure"))),
    throttleReasons: reasonsOf(gpu),
    processes: programsOf(programs, mostProcesses),
    migDevices: migDevicesOf(gpu),
  };
  return [one];
}

/** Corrected errors since the driver was loaded; before Turing they are told as single-bit errors. */
function correctedOf(gpu: XmlElement): bigint | undefined {
  const volatile = elementOf(elementOf(gpu, "ecc_errors"), "volatile");
  const counts = [
    textAt(volatile, "sram_correctable"),
    textAt(volatile, "dram_correctable"),
    textAt(elementOf(volatile, "single_bit"), "total"),
  ];
  const known = counts.map(bigOf).filter((count) => count !== undefined);
  return known.length === 0 ? undefined : known.reduce((sum, count) => sum + count, 0n);
}

function reasonsOf(gpu: XmlElement): string[] {
  const event = elementOf(gpu, "clocks_event_reasons");
  const reasons = event ?? elementOf(gpu, "clocks_throttle_reasons");
  return [...(reasons?.children.keys() ?? [])]
    .filter((tag) => textAt(reasons, tag) === "Active")
    .map((tag) => tag.replace(/^clocks_(event|throttle)_reason_/, "").slice(0, 64));
}

function migDevicesOf(gpu: XmlElement): LoggedMigDevice[] {
  const listed = elementsOf(elementOf(gpu, "mig_devices"), "mig_device");
  const read = listed.flatMap((device) => {
    const index = wholeOf(textAt(device, "index"));
    const gpuInstanceId = wholeOf(textAt(device, "gpu_instance_id"));
    const computeInstanceId = wholeOf(textAt(device, "compute_instance_id"));
    if (index === undefined || gpuInstanceId === undefined || computeInstanceId === undefined) {
      return [];
    }
    const memory = elementOf(device, "fb_memory_usage");
    const sizes = {
      ...pick("memoryMib", mebibytesOf(textAt(memory, "total"))),
      ...pick("memoryUsedMib", mebibytesOf(textAt(memory, "used"))),
      ...pick("memoryFreeMib", mebibytesOf(textAt(memory, "free"))),
    };
    return [{ index, gpuInstanceId, computeInstanceId, ...sizes }];
  });
  return read.slice(0, MAX_PARTS);
}

function wattsAt(parent: XmlElement | undefined, tag: string): number | undefined {
  return numberOf(/^(\S{1,20}) W$/.exec(textAt(parent, tag) ?? "")?.[1]);
}

function textAt(parent: XmlElement | undefined, tag: string): string | undefined {
  return textOf(textIn(parent, tag));
}
