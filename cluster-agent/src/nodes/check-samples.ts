import { type GpuSample, type HostSample, Quality } from "@berth/proto";
import type {
  DiskReading,
  GpuReading,
  HostReading,
  NetworkReading,
  NodeInventory,
  ReadingQuality,
} from "./inventory.ts";

/** A checked sample, and each field that was left out with why. */
export interface Checked<T> {
  readonly reading: T;
  /** A bad field is dropped so that the good ones still count. */
  readonly problems: readonly FieldProblem[];
}

/** A field that was left out. */
export interface FieldProblem {
  /** "host load1m", "gpu GPU-… powerW". */
  readonly field: string;
  /** For people: what was expected. */
  readonly why: string;
}

const MAX_MIB = 2 ** 42;
const PERFORMANCE_STATE = /^P\d{1,2}$/;

/**
 * Checks a host sample against the node's inventory. A number that is not finite or out of its range,
 * and an item that the inventory does not name, is left out and told in `problems`.
 */
export function checkHostSample(
  sample: HostSample,
  inventory: Pick<NodeInventory, "disks" | "networkInterfaces">,
): Checked<HostReading> {
  const check = new FieldCheck("host");
  const reading: HostReading = {
    ageMs: sample.ageMs,
    quality: readingQuality(sample.quality),
    ...check.numbers({
      cpuUtilizationPercent: [sample.cpuUtilizationPercent, 0, 100],
      load1m: [sample.load1m, 0, 1e6],
      load5m: [sample.load5m, 0, 1e6],
      load15m: [sample.load15m, 0, 1e6],
      memoryUsedMiB: [sample.memoryUsedMib, 0, MAX_MIB],
      memoryAvailableMiB: [sample.memoryAvailableMib, 0, MAX_MIB],
      swapUsedMiB: [sample.swapUsedMib, 0, MAX_MIB],
      swapFreeMiB: [sample.swapFreeMib, 0, MAX_MIB],
      processesTotal: [sample.processesTotal, 0, 2 ** 32],
      processesRunning: [sample.processesRunning, 0, 2 ** 32],
    }),
    disks: checkDisks(sample, inventory, check),
    networkInterfaces: checkInterfaces(sample, inventory, check),
  };
  return { reading, problems: check.problems };
}

/** Checks a GPU sample, in the way of {@link checkHostSample}. */
export function checkGpuSample(sample: GpuSample): Checked<GpuReading> {
  const check = new FieldCheck(`gpu ${sample.uuid}`);
  const state = sample.performanceState;
  if (state !== undefined && !PERFORMANCE_STATE.test(state)) {
    check.drop("performanceState", "expected P0 to P15");
  }
  const reading: GpuReading = {
    uuid: sample.uuid,
    ageMs: sample.ageMs,
    quality: readingQuality(sample.quality),
    ...check.numbers({
      utilizationPercent: [sample.utilizationPercent, 0, 100],
      memoryUtilizationPercent: [sample.memoryUtilizationPercent, 0, 100],
      memoryUsedMiB: [sample.memoryUsedMib, 0, MAX_MIB],
      memoryFreeMiB: [sample.memoryFreeMib, 0, MAX_MIB],
      temperatureC: [sample.temperatureC, -100, 250],
      powerW: [sample.powerW, 0, 100_000],
      powerLimitW: [sample.powerLimitW, 0, 100_000],
      smClockMhz: [sample.smClockMhz, 0, 100_000],
      memoryClockMhz: [sample.memoryClockMhz, 0, 100_000],
      eccUncorrectedTotal: [sample.eccUncorrectedTotal, 0, Number.MAX_SAFE_INTEGER],
    }),
    ...(state !== undefined && PERFORMANCE_STATE.test(state) ? { performanceState: state } : {}),
  };
  return { reading, problems: check.problems };
}

/** The word for a quality of the wire; "not said" and unknown ones read as unavailable. */
export function readingQuality(quality: Quality): ReadingQuality {
  switch (quality) {
    case Quality.MEASURED:
      return "measured";
    case Quality.DERIVED:
      return "derived";
    case Quality.STALE:
      return "stale";
    case Quality.SIMULATED:
      return "simulated";
    default:
      return "unavailable";
  }
}

function checkDisks(
  sample: HostSample,
  inventory: Pick<NodeInventory, "disks">,
  check: FieldCheck,
): DiskReading[] {
  const known = new Set(inventory.disks.map((disk) => disk.mountPoint));
  return sample.disks.flatMap(({ mountPoint, usedMib, availableMib }) => {
    if (!known.delete(mountPoint)) {
      check.drop("disks", "a mount point is not in the fingerprint, or twice");
      return [];
    }
    const usedMiB = check.number("disks.usedMiB", usedMib, [0, MAX_MIB]);
    const availableMiB = check.number("disks.availableMiB", availableMib, [0, MAX_MIB]);
    if (usedMiB === undefined || availableMiB === undefined) return [];
    return [{ mountPoint, usedMiB, availableMiB }];
  });
}

function checkInterfaces(
  sample: HostSample,
  inventory: Pick<NodeInventory, "networkInterfaces">,
  check: FieldCheck,
): NetworkReading[] {
  const known = new Set(inventory.networkInterfaces.map((item) => item.name));
  const range = [0, Number.MAX_SAFE_INTEGER] as const;
  return sample.networkInterfaces.flatMap((item) => {
    if (!known.delete(item.name)) {
      check.drop("networkInterfaces", "a name is not in the fingerprint, or twice");
      return [];
    }
    const sent = check.number("networkInterfaces.transmittedBytes", item.transmittedBytes, range);
    const received = check.number("networkInterfaces.receivedBytes", item.receivedBytes, range);
    if (sent === undefined || received === undefined) return [];
    return [{ name: item.name, transmittedBytes: sent, receivedBytes: received }];
  });
}

type Ranged = readonly [value: number | bigint | undefined, min: number, max: number];

class FieldCheck {
  readonly #subject: string;
  readonly problems: FieldProblem[] = [];

  constructor(subject: string) {
    this.#subject = subject;
  }

  drop(field: string, why: string): void {
    this.problems.push({ field: `${this.#subject} ${field}`, why });
  }

  number(
    field: string,
    given: number | bigint,
    [min, max]: readonly [min: number, max: number],
  ): number | undefined {
    const value = Number(given);
    if (value >= min && value <= max) return value;
    this.drop(field, `expected a number from ${min} to ${max}, got ${value}`);
    return undefined;
  }

  /** The fields that are present and in range; the others are absent in the result. */
  numbers<K extends string>(fields: Readonly<Record<K, Ranged>>): { [key in K]?: number } {
    const result: { [key in K]?: number } = {};
    for (const field of Object.keys(fields) as K[]) {
      const [given, min, max] = fields[field];
      if (given === undefined) continue;
      const value = this.number(field, given, [min, max]);
      if (value !== undefined) result[field] = value;
    }
    return result;
  }
}
