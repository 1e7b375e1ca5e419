import { UUID_FORM } from "./smi-fields.ts";
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

/** A program on a GPU. */
export interface LoggedProcess {
  readonly pid: number;
  /** At most 128 characters. */
  readonly name: string;
  readonly memoryUsedMib?: bigint;
  /** Berth instance that it belongs to; the log does not tell. */
  readonly instanceId?: string;
}

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
  readonly gpus: readonly LoggedGpu[];
}

/** Longest text that is read; eight GPUs make about 150,000 characters. */
const MAX_LENGTH = 4_194_304;
const MAX_GPUS = 64;
const MAX_PROCESSES = 256;
const MAX_ALL_PROCESSES = 1_024;
const MAX_PARTS = 64;
const MAX_NAME = 128;
const END = "</nvidia_smi_log>";

/**
 * Reads the text of `nvidia-smi -q -x` in the forms of all drivers since 450 (document types
 * `nvsmi_device_v11` and `v12`): tags that an older or newer driver does not have are absent values.
 * Lines before the document (warnings) are passed over. Undefined when there is no whole document.
 * Never throws.
 */
export function parseSmiXml(text: string): SmiLog | undefined {
  const from = text.search(/<\?xml|<nvidia_smi_log/);
  if (text.length > MAX_LENGTH || from < 0 || !text.includes(END, from)) return undefined;
  const log = elementOf(parseXmlTree(mended(text.slice(from))), "nvidia_smi_log");
  if (log === undefined) return undefined;
  const listed = elementsOf(log, "gpu").slice(0, MAX_GPUS);
  const most = Math.min(MAX_PROCESSES, Math.floor(MAX_ALL_PROCESSES / Math.max(1, listed.length)));
  const gpus = listed.flatMap((gpu) => gpuOf(gpu, most));
  return { cudaVersion: textAt(log, "cuda_version")?.slice(0, 32) ?? "", gpus };
}

/** nvidia-smi prints names of programs as they are, whatever signs they hold. */
function mended(text: string): string {
  return text.replace(
    /<process_name>(.*?)<\/process_name>/g,
    (_all, name: string) => `<process_name>${name.replaceAll("<", "&lt;")}</process_name>`,
  );
}

function gpuOf(gpu: XmlElement, mostProcesses: number): LoggedGpu[] {
  const uuid = textAt(gpu, "uuid");
  if (uuid === undefined || !UUID_FORM.test(uuid)) return [];
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
    processes: processesOf(gpu).slice(0, mostProcesses),
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

function processesOf(gpu: XmlElement): LoggedProcess[] {
  const listed = elementsOf(elementOf(gpu, "processes"), "process_info");
  return listed.flatMap((process) => {
    const pid = wholeOf(textAt(process, "pid"));
    if (pid === undefined) return [];
    const name = (textAt(process, "process_name") ?? "").slice(0, MAX_NAME);
    const used = mebibytesOf(textAt(process, "used_memory"));
    return [{ pid, name: name.toWellFormed(), ...pick("memoryUsedMib", used) }];
  });
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
