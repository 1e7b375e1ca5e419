import { type GpuInfo, GpuInfoSchema, type GpuSampleSchema } from "@berth/proto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { bigOf, numberOf, percentOf, pick, switchOf, textOf, wholeOf } from "./smi-value.ts";
import { throttleReasons } from "./throttle-reasons.ts";

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

/** What the long-lived `nvidia-smi` child is asked for each sample, in this order, a reason field last. */
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

/**
 * Names of the field that tells why clocks are low, the newest first: from driver 535, before it, and
 * none for a driver that knows neither. A driver refuses a query with a field that it does not know.
 */
export const REASON_FIELDS = [
  "clocks_event_reasons.active",
  "clocks_throttle_reasons.active",
  undefined,
] as const;

/** The measured values of one GPU as a `GpuSample` carries them; absent = not to be had. */
export type GpuValues = Omit<
  MessageInitShape<typeof GpuSampleSchema>,
  "$typeName" | "$unknown" | "uuid" | "ageMs" | "quality" | "details"
>;

/** One line of the sampling child. */
export interface GpuReading {
  readonly uuid: string;
  readonly values: GpuValues;
}

/** Form of a GPU's UUID. */
export const UUID_FORM = /^GPU-[0-9a-fA-F-]{8,64}$/;
const NOT_A_FIELD = /^Field "[^"]{1,100}" is not a valid field to query/;

/** Arguments of a `nvidia-smi` CSV query; with `loopMs` it repeats until it is killed. */
export function smiArguments(fields: readonly string[], loopMs?: number): string[] {
  const query = [`--query-gpu=${fields.join(",")}`, "--format=csv,noheader,nounits"];
  return loopMs === undefined ? query : [...query, "-lms", String(loopMs)];
}

/** Whether the driver says with this line that it does not know a field. */
export function refusesField(line: string): boolean {
  return NOT_A_FIELD.test(line);
}

/** Reads one line of the inventory query; undefined for anything else (warnings, errors, noise). */
export function parseInventoryLine(line: string): GpuInfo | undefined {
  const cells = cellsOf(line);
  if (cells.length !== INVENTORY_FIELDS.length) return undefined;
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
 * Reads one line of the sampling child, with or without a reason field; undefined when the line is not a
 * reading of a GPU. A cell that is not a number in range (`[N/A]`, `[Not Supported]`, `[Unknown Error]`,
 * empty…) leaves its value absent. Never throws.
 */
export function parseSampleLine(line: string): GpuReading | undefined {
  const cells = cellsOf(line);
  const extra = cells.length - SAMPLE_FIELDS.length;
  const [uuid, gpu, memory, used, free, heat, power, limit, sm, mem, ecc, pstate, reasons] = cells;
  if (uuid === undefined || !UUID_FORM.test(uuid) || extra < 0 || extra > 1) return undefined;
  const why = throttleReasons(reasons);
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
    ...(why.length > 0 ? { throttleReasons: why } : {}),
  };
  return { uuid, values };
}

function cellsOf(line: string): string[] {
  return line.split(",").map((cell) => cell.trim());
}
