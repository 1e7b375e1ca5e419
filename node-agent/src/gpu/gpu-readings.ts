import { type GpuSample, GpuSampleSchema, Quality } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import type { GpuReading, GpuValues } from "./smi-fields.ts";

/** Intervals without a new reading after which a value is stale (failure model §5). */
export const STALE_INTERVALS = 3;

/** What a reading did: ended a full round, left it open, or named a GPU that is not in the set. */
export type ReadingEffect = "round" | "open" | "unknown_gpu";

interface Held {
  readonly values: GpuValues;
  readonly atMs: number;
}

/**
 * The newest reading of each GPU, with age and quality. Pure state: times come from the caller, in ms
 * of one monotonic clock.
 */
export class GpuReadings {
  #uuids: readonly string[] = [];
  #sinceMs = 0;
  #intervalMs = 1_000;
  #driverHung = false;
  readonly #held = new Map<string, Held>();
  readonly #round = new Set<string>();

  /** Names the set of GPUs; readings of GPUs that stay are kept. */
  setGpus(uuids: readonly string[], nowMs: number): void {
    this.#uuids = uuids;
    this.#sinceMs = nowMs;
    this.#round.clear();
    const known = new Set(uuids);
    for (const uuid of this.#held.keys()) if (!known.has(uuid)) this.#held.delete(uuid);
  }

  /** Sets the time between two readings of a GPU, in ms. */
  setIntervalMs(intervalMs: number): void {
    this.#intervalMs = intervalMs;
  }

  /** Says whether the driver hangs; then no value is to be had, whatever was read before. */
  setDriverHung(hung: boolean): void {
    this.#driverHung = hung;
  }

  /** Takes one reading. A GPU that comes again before the others came starts the next round. */
  accept(reading: GpuReading, nowMs: number): ReadingEffect {
    if (!this.#uuids.includes(reading.uuid)) return "unknown_gpu";
    const nextRound = this.#round.has(reading.uuid);
    if (nextRound) this.#round.clear();
    this.#held.set(reading.uuid, { values: reading.values, atMs: nowMs });
    this.#round.add(reading.uuid);
    const full = this.#round.size === this.#uuids.length;
    if (full) this.#round.clear();
    return full || nextRound ? "round" : "open";
  }

  /** Age of the oldest newest reading of the set in ms, counted from `setGpus` where there is none. */
  oldestAgeMs(nowMs: number): number {
    return Math.max(0, ...this.#uuids.map((uuid) => this.#ageMs(uuid, nowMs)));
  }

  /** One sample per GPU of the set, in its order. */
  samples(nowMs: number): GpuSample[] {
    return this.#uuids.map((uuid) => {
      const held = this.#held.get(uuid);
      const ageMs = Math.min(0xffff_ffff, Math.round(this.#ageMs(uuid, nowMs)));
      if (held === undefined || this.#driverHung) {
        return create(GpuSampleSchema, { uuid, ageMs, quality: Quality.UNAVAILABLE });
      }
      const stale = ageMs > STALE_INTERVALS * this.#intervalMs;
      const quality = stale ? Quality.STALE : Quality.MEASURED;
      return create(GpuSampleSchema, { ...held.values, uuid, ageMs, quality });
    });
  }

  #ageMs(uuid: string, nowMs: number): number {
    return Math.max(0, nowMs - (this.#held.get(uuid)?.atMs ?? this.#sinceMs));
  }
}
