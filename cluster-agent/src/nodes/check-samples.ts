import { type GpuSample, type HostSample, Quality } from "@berth/proto";
import { type Checked, FieldCheck, MAX_MIB } from "./field-check.ts";
import type {
  DiskReading,
  GpuReading,
  HostReading,
  NetworkReading,
  NodeInventory,
  ReadingQuality,
} from "./inventory.ts";

const PERFORMANCE_STATE = /^P\d{1,2}$/;
const THROTTLE_REASON = /^[a-z0-9_]{1,64}$/;
const MAX_THROTTLE_REASONS = 32;

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
    throttleReasons: checkReasons(sample.throttleReasons, check),
  };
  return { reading, problems: check.problems };
}

/** Throttle reasons in the form that they have, each once. */
export function checkReasons(reasons: readonly string[], check: FieldCheck): string[] {
  const few = check.atMost("throttleReasons", reasons, MAX_THROTTLE_REASONS);
  const good = few.filter((reason) => THROTTLE_REASON.test(reason));
  if (good.length < few.length) check.drop("throttleReasons", "expected words of [a-z0-9_]");
  return [...new Set(good)];
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
