import { type GpuDetails, GpuDetailsSchema, type GpuInfo, Quality } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import { STALE_INTERVALS } from "./gpu-readings.ts";
import { pick } from "./smi-value.ts";
import type { LoggedGpu, SmiLog } from "./smi-xml.ts";

interface Held {
  readonly details: GpuDetails;
  readonly atMs: number;
}

/**
 * The newest details of each GPU, with age and quality: measured, and stale after three intervals
 * without a new log. Pure state: times come from the caller, in ms of one monotonic clock.
 */
export class HeldDetails {
  readonly #intervalMs: number;
  readonly #held = new Map<string, Held>();

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  /** Takes a log; a GPU of the set that it does not name keeps its older details. */
  accept(log: SmiLog, gpus: readonly GpuInfo[], nowMs: number): void {
    const known = new Map(gpus.map((gpu) => [gpu.uuid, gpu]));
    for (const uuid of this.#held.keys()) if (!known.has(uuid)) this.#held.delete(uuid);
    for (const logged of log.gpus) {
      const gpu = known.get(logged.uuid);
      if (gpu === undefined) continue;
      this.#held.set(logged.uuid, { details: detailsOf(logged, gpu), atMs: nowMs });
    }
  }

  /** Details of one GPU with their age now; undefined before the first log that names it. */
  of(uuid: string, nowMs: number): GpuDetails | undefined {
    const held = this.#held.get(uuid);
    if (held === undefined) return undefined;
    const ageMs = Math.min(0xffff_ffff, Math.max(0, Math.round(nowMs - held.atMs)));
    const quality = this.#isStale(held, nowMs) ? Quality.STALE : Quality.MEASURED;
    // A shallow copy: what is below never changes once it was read.
    return create(GpuDetailsSchema, { ...fieldsOf(held.details), ageMs, quality });
  }

  /** Number of GPUs whose details are stale now. */
  staleCount(nowMs: number): number {
    return [...this.#held.values()].filter((held) => this.#isStale(held, nowMs)).length;
  }

  #isStale({ atMs }: Held, nowMs: number): boolean {
    return nowMs - atMs > STALE_INTERVALS * this.#intervalMs;
  }
}

// protobuf-es takes an object with a `$typeName` for a finished message and would not copy it.
function fieldsOf({ $typeName: _name, ...fields }: GpuDetails): Omit<GpuDetails, "$typeName"> {
  return fields;
}

/** Details of one GPU as a sample carries them, without age; MIG parts by the UUIDs of the inventory. */
export function detailsOf(logged: LoggedGpu, gpu: GpuInfo): GpuDetails {
  const uuids = new Map(gpu.migDevices.map((part) => [part.index, part.uuid]));
  return create(GpuDetailsSchema, {
    ...pick("eccCorrectedTotal", logged.eccCorrectedTotal),
    ...pick("remappedRowsCorrectable", logged.remappedRowsCorrectable),
    ...pick("remappedRowsUncorrectable", logged.remappedRowsUncorrectable),
    ...pick("rowRemapPending", logged.rowRemapPending),
    ...pick("rowRemapFailed", logged.rowRemapFailed),
    ...pick("powerW", logged.powerW),
    throttleReasons: [...logged.throttleReasons],
    processes: logged.processes.map((process) => ({ ...process })),
    migDevices: logged.migDevices.flatMap(({ index, memoryUsedMib, memoryFreeMib }) => {
      const uuid = uuids.get(index);
      if (uuid === undefined) return [];
      return [
        { uuid, ...pick("memoryUsedMib", memoryUsedMib), ...pick("memoryFreeMib", memoryFreeMib) },
      ];
    }),
  });
}
