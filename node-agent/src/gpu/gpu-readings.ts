import { type GpuSample, GpuSampleSchema, Quality } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import type { GpuReading, GpuValues } from "./smi-fields.ts";

/** Intervals without a new reading after which a value is stale (failure model §5). */
export const STALE_INTERVALS = 3;

/** What a reading did: ended a full round, left it open, or named a GPU that is not in the set. */
export type ReadingEffect = "round" | "open" | "unknown_gpu";

/**
 * How long a stale value still counts as one, in ms: as long as a driver that answers may need to list its
 * GPUs again and to print through a new child.
 */
const STALE_FOR_MS = 25_000;
/** The same when the driver has fallen silent by itself: as good as hung, and hung it counts as that soon. */
const SILENT_FOR_MS = 5_000;
/** How long a GPU's first reading is waited for before it counts as one that cannot be read, in ms. */
const FIRST_READING_MS = 10_000;

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
  #awaitedSinceMs: number | undefined;
  #driverHung = false;
  #driverSilent = false;
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

  /** Sets the time between two readings of a GPU, in ms; from the first call on they are awaited. */
  setIntervalMs(intervalMs: number, nowMs: number): void {
    this.#intervalMs = intervalMs;
    this.#awaitedSinceMs ??= nowMs;
  }

  /** Says whether the driver hangs; then no value is to be had, whatever was read before. */
  setDriverHung(hung: boolean): void {
    this.#driverHung = hung;
  }

  /** The driver fell silent; it counts as that until the next reading. */
  fallenSilent(): void {
    this.#driverSilent = true;
  }

  /** Takes one reading. A GPU that comes again before the others came starts the next round. */
  accept(reading: GpuReading, nowMs: number): ReadingEffect {
    this.#driverSilent = false;
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

  /**
   * One sample per GPU of the set, in its order. `UNSPECIFIED` is the quality of one whose first reading
   * may still come; it says nothing of the GPU.
   */
  samples(nowMs: number): GpuSample[] {
    return this.#uuids.map((uuid) => {
      const held = this.#held.get(uuid);
      const ageMs = Math.min(0xffff_ffff, Math.round(this.#ageMs(uuid, nowMs)));
      const quality = this.#quality(held, ageMs, nowMs);
      const isRead = quality === Quality.MEASURED || quality === Quality.STALE;
      return create(GpuSampleSchema, { ...(isRead ? held?.values : {}), uuid, ageMs, quality });
    });
  }

  #quality(held: Held | undefined, ageMs: number, nowMs: number): Quality {
    if (this.#driverHung) return Quality.UNAVAILABLE;
    if (held === undefined) {
      const sinceMs = Math.max(this.#sinceMs, this.#awaitedSinceMs ?? nowMs);
      const awaitedMs = Math.max(FIRST_READING_MS, STALE_INTERVALS * this.#intervalMs);
      return nowMs - sinceMs > awaitedMs ? Quality.UNAVAILABLE : Quality.UNSPECIFIED;
    }
    const staleMs = ageMs - STALE_INTERVALS * this.#intervalMs;
    if (staleMs > (this.#driverSilent ? SILENT_FOR_MS : STALE_FOR_MS)) return Quality.UNAVAILABLE;
    return staleMs > 0 ? Quality.STALE : Quality.MEASURED;
  }

  #ageMs(uuid: string, nowMs: number): number {
    return Math.max(0, nowMs - (this.#held.get(uuid)?.atMs ?? this.#sinceMs));
  }
}
