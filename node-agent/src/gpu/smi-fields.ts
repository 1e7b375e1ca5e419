import { type GpuInfo, GpuInfoSchema, type GpuSampleSchema } from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";

/** What `nvidia-smi --query-gpu` is asked once for the inventory, in this order. */
export const INVENTORY_FIELDS = [
  "index",
  "uuid",
  "name",
  "pci.bus_id",
  "memory.total",
  "mig.mode.current",
  "power.limit",
  "driver_version",
] as const;

/** What the long-lived `nvidia-smi` child is asked for each sample, in this order. */
export const SAMPLE_FIELDS = [
  "uuid",
  "utilization.gpu",
  "utilization.memory",
  "memory.used",
  "memory.free",
  "temperature.gpu",
  "power.draw",
  "power.limit",
  "clocks.sm",
  "clocks.mem",
  "ecc.errors.uncorrected.volatile.total",
  "pstate",
] as const;

/** The measured values of one GPU as a `GpuSample` carries them; absent = not to be had. */
export type GpuValues = Omit<
  MessageInitShape<typeof GpuSampleSchema>,
  "$typeName" | "$unknown" | "uuid" | "ageMs" | "quality"
>;

/** One line of the sampling child. */
export interface GpuReading {
  readonly uuid: string;
  readonly values: GpuValues;
}

const UUID_FORM = /^GPU-[0-9a-fA-F-]{8,64}$/;
const MAX_UINT32 = 0xffff_ffff;

/** Arguments of a `nvidia-smi` CSV query; with `loopMs` it repeats until it is killed. */
export function smiArguments(fields: readonly string[], loopMs?: number): string[] {
  const query = [`--query-gpu=${fields.join(",")}`, "--format=csv,noheader,nounits"];
  return loopMs === undefined ? query : [...query, "-lms", String(loopMs)];
}

/** Reads one line of the inventory query; undefined for anything else (warnings, errors, noise). */
export function parseInventoryLine(line: string): GpuInfo | undefined {
  const cells = cellsOf(line, INVENTORY_FIELDS.length);
  if (cells === undefined) return undefined;
  const [index, uuid, name, bus, memory, mig, power, driver] = cells;
  const driverIndex = wholeOf(index);
  if (uuid === undefined || !UUID_FORM.test(uuid) || driverIndex === undefined) return undefined;
  const memoryMib = wholeOf(memory);
  const migEnabled = switchOf(mig);
  const powerLimitW = numberOf(power);
  return create(GpuInfoSchema, {
    uuid,
    driverIndex,
    modelName: textOf(name) ?? "",
    pciBusId: textOf(bus) ?? "",
    driverVersion: textOf(driver) ?? "",
    ...(memoryMib === undefined ? {} : { memoryMib: BigInt(memoryMib) }),
    ...(migEnabled === undefined ? {} : { migEnabled }),
    ...(powerLimitW === undefined ? {} : { powerLimitW }),
  });
}

/**
 * Reads one line of the sampling child; undefined when the line is not a reading of a GPU. A cell that
 * is not a number in range (`[N/A]`, `[Not Supported]`, `[Unknown Error]`, empty…) leaves its value
 * absent. Never throws.
 */
export function parseSampleLine(line: string): GpuReading | undefined {
  const cells = cellsOf(line, SAMPLE_FIELDS.length);
  const uuid = cells?.[0];
  if (cells === undefined || uuid === undefined || !UUID_FORM.test(uuid)) return undefined;
  const [, gpu, memory, used, free, heat, power, limit, sm, mem, ecc, pstate] = cells;
  const performanceState = textOf(pstate);
  const values: GpuValues = {
    ...pick("utilizationPercent", percentOf(gpu)),
    ...pick("memoryUtilizationPercent", percentOf(memory)),
    ...pick("memoryUsedMib", bigOf(used)),
    ...pick("memoryFreeMib", bigOf(free)),
    ...pick("temperatureC", numberOf(heat)),
    ...pick("powerW", numberOf(power)),
    ...pick("powerLimitW", numberOf(limit)),
    ...pick("smClockMhz", wholeOf(sm)),
    ...pick("memoryClockMhz", wholeOf(mem)),
    ...pick("eccUncorrectedTotal", bigOf(ecc)),
    ...(performanceState !== undefined && /^P\d{1,2}$/.test(performanceState)
      ? { performanceState }
      : {}),
  };
  return { uuid, values };
}

function cellsOf(line: string, count: number): string[] | undefined {
  const cells = line.split(",").map((cell) => cell.trim());
  return cells.length === count ? cells : undefined;
}

function pick<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: V });
}

/** Text of a cell; undefined for empty ones and for every `[…]` and N/A marker of the driver. */
function textOf(cell: string | undefined): string | undefined {
  if (cell === undefined || cell === "" || cell === "N/A" || cell.startsWith("[")) return undefined;
  return cell;
}

function numberOf(cell: string | undefined): number | undefined {
  const text = textOf(cell);
  if (text === undefined || !/^-?\d{1,15}(\.\d{1,9})?$/.test(text)) return undefined;
  return Number(text);
}

function wholeOf(cell: string | undefined): number | undefined {
  const value = numberOf(cell);
  return value !== undefined && Number.isInteger(value) && value >= 0 && value <= MAX_UINT32
    ? value
    : undefined;
}

function percentOf(cell: string | undefined): number | undefined {
  const value = numberOf(cell);
  return value !== undefined && value >= 0 && value <= 100 ? value : undefined;
}

function bigOf(cell: string | undefined): bigint | undefined {
  const value = numberOf(cell);
  return value !== undefined && Number.isInteger(value) && value >= 0 ? BigInt(value) : undefined;
}

function switchOf(cell: string | undefined): boolean | undefined {
  if (cell === "Enabled") return true;
  return cell === "Disabled" ? false : undefined;
}
