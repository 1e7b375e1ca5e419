import type { GpuDetails, GpuProcess } from "@berth/proto";
import { checkReasons, readingQuality } from "./check-samples.ts";
import { type Checked, FieldCheck, isToken, MAX_MIB } from "./field-check.ts";
import type {
  GpuDetailsReading,
  GpuInventory,
  GpuProcessReading,
  MigReading,
} from "./inventory.ts";
import { shownText } from "./shown-text.ts";

/** Most programs that are known of one GPU, and of a node. */
export const PROCESS_LIMITS = { gpu: 256, node: 1_024 } as const;

const MAX_NAME = 128;
const MAX_COUNT = Number.MAX_SAFE_INTEGER;

/**
 * Checks the details of a GPU against the inventory. A number out of range, a program beyond the limit
 * and a MIG part that the inventory does not name is left out and told in `problems`.
 */
export function checkGpuDetails(
  details: GpuDetails,
  gpu: Pick<GpuInventory, "uuid" | "migDevices">,
): Checked<GpuDetailsReading> {
  const check = new FieldCheck(`gpu ${gpu.uuid} details`);
  const { rowRemapPending, rowRemapFailed } = details;
  const processes = check.atMost("processes", details.processes, PROCESS_LIMITS.gpu);
  const reading: GpuDetailsReading = {
    ageMs: details.ageMs,
    quality: readingQuality(details.quality),
    ...check.numbers({
      eccCorrectedTotal: [details.eccCorrectedTotal, 0, MAX_COUNT],
      remappedRowsCorrectable: [details.remappedRowsCorrectable, 0, MAX_COUNT],
      remappedRowsUncorrectable: [details.remappedRowsUncorrectable, 0, MAX_COUNT],
      powerW: [details.powerW, 0, 100_000],
    }),
    ...(rowRemapPending === undefined ? {} : { rowRemapPending }),
    ...(rowRemapFailed === undefined ? {} : { rowRemapFailed }),
    throttleReasons: checkReasons(details.throttleReasons, check),
    processes: processes.map((process) => checkProcess(process, check)),
    migDevices: checkParts(details, gpu, check),
  };
  return { reading, problems: check.problems };
}

function checkProcess(process: GpuProcess, check: FieldCheck): GpuProcessReading {
  const { pid, name, instanceId } = process;
  const isKnown = instanceId !== "" && isToken(instanceId);
  if (instanceId !== "" && !isKnown) check.drop("processes.instanceId", "expected an id");
  const { memoryUsedMiB } = check.numbers({ memoryUsedMiB: [process.memoryUsedMib, 0, MAX_MIB] });
  return {
    pid,
    name: shownText(name, MAX_NAME),
    ...(memoryUsedMiB === undefined ? {} : { memoryUsedMiB }),
    ...(isKnown ? { instanceId } : {}),
  };
}

function checkParts(
  details: GpuDetails,
  { migDevices = [] }: Pick<GpuInventory, "migDevices">,
  check: FieldCheck,
): MigReading[] {
  const known = new Set(migDevices.map((part) => part.uuid));
  return details.migDevices.flatMap(({ uuid, memoryUsedMib, memoryFreeMib }) => {
    if (!known.delete(uuid)) {
      check.drop("migDevices", "a part is not in the fingerprint, or twice");
      return [];
    }
    const use = check.numbers({
      memoryUsedMiB: [memoryUsedMib, 0, MAX_MIB],
      memoryFreeMiB: [memoryFreeMib, 0, MAX_MIB],
    });
    return [{ uuid, ...use }];
  });
}
