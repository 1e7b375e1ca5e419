import type { GpuSample } from "@berth/proto";
import { HeldDetails } from "./gpu-details.ts";
import {
  type GpuListing,
  type GpuSurvey,
  hasOtherParts,
  inventoryOf,
  isOtherSet,
  isSameInventory,
  type KnownGpus,
  nextKnown,
} from "./gpu-inventory.ts";
import { GpuReadings, type ReadingEffect } from "./gpu-readings.ts";
import type { GpuInventory } from "./gpu-source.ts";
import type { GpuReading } from "./smi-fields.ts";
import type { SmiLog } from "./smi-xml.ts";

const NOT_YET_LISTED = "nvidia-smi has not answered yet";

/**
 * All that is known of the GPUs of this machine. Pure state: times come from the caller, in ms of one
 * monotonic clock. What changes the inventory says so by returning true.
 */
export class GpuPicture {
  readonly #readings = new GpuReadings();
  readonly #details: HeldDetails;
  #known: KnownGpus = { gpus: [], error: NOT_YET_LISTED, remarks: [] };
  #survey: GpuSurvey | undefined;
  #surveyDoubted = false;
  #logRemarks: readonly string[] = [];
  #driverHung = false;
  #inventory: GpuInventory;

  /** `detailsMs`: time between two logs. */
  constructor(detailsMs: number) {
    this.#details = new HeldDetails(detailsMs);
    this.#inventory = this.#compose();
  }

  get inventory(): GpuInventory {
    return this.#inventory;
  }

  /** Whether another survey belongs to the newest listing. */
  get needsSurvey(): boolean {
    if (this.#known.gpus.length === 0) return false;
    const survey = this.#survey;
    if (survey === undefined || survey.incomplete || this.#surveyDoubted) return true;
    return isOtherSet(survey.gpus, this.#known.gpus);
  }

  /** Whether a log has shown that the newest survey does not hold any more. */
  get surveyDoubted(): boolean {
    return this.#surveyDoubted;
  }

  /** Whether the newest listing had this line beside it; a log may have it sooner. */
  isListedRemark(line: string): boolean {
    return this.#known.remarks.includes(line);
  }

  /** One sample per GPU, with the newest details. */
  samples(nowMs: number): GpuSample[] {
    const samples = this.#readings.samples(nowMs);
    for (const sample of samples) {
      const details = this.#details.of(sample.uuid, nowMs);
      if (details !== undefined) sample.details = details;
    }
    return samples;
  }

  /** Age of the oldest newest reading, in ms. */
  oldestAgeMs(nowMs: number): number {
    return this.#readings.oldestAgeMs(nowMs);
  }

  /** Number of GPUs whose details are stale. */
  staleDetails(nowMs: number): number {
    return this.#details.staleCount(nowMs);
  }

  /** Sets the time between two readings; from the first call on they are awaited. */
  setIntervalMs(intervalMs: number, nowMs: number): void {
    this.#readings.setIntervalMs(intervalMs, nowMs);
  }

  /** The driver fell silent; it counts as that until the next reading. */
  fallenSilent(): void {
    this.#readings.fallenSilent();
  }

  takeReading(reading: GpuReading, nowMs: number): ReadingEffect {
    return this.#readings.accept(reading, nowMs);
  }

  takeListing(listing: GpuListing, nowMs: number): boolean {
    this.#known = nextKnown(this.#known, listing);
    return this.#update(nowMs);
  }

  /** Takes a survey; its log counts as the newest one. */
  takeSurvey(survey: GpuSurvey, logRemarks: readonly string[], nowMs: number): boolean {
    this.#survey = { ...survey, log: survey.log && this.#completed(survey.log) };
    this.#surveyDoubted = false;
    if (survey.log === undefined) return this.#update(nowMs);
    return this.takeLog(survey.log, logRemarks, nowMs);
  }

  /** Takes a log. One that shows other MIG parts than the survey asks for another survey. */
  takeLog(newest: SmiLog, logRemarks: readonly string[], nowMs: number): boolean {
    this.#logRemarks = logRemarks;
    const log = this.#ofListed(newest);
    if (this.#survey !== undefined) {
      if (hasOtherParts(log, this.#survey)) this.#surveyDoubted = true;
      else this.#survey = { ...this.#survey, log: this.#completed(log) };
    }
    const changed = this.#update(nowMs);
    this.#details.accept(log, this.#inventory.gpus, nowMs);
    return changed;
  }

  /**
   * Says whether the driver hangs, and whether readings come all the same (from a child that was started
   * before). Without them no value is to be had, whatever was read before.
   */
  setDriverHung(hung: boolean, readingsCome: boolean, nowMs: number): boolean {
    this.#driverHung = hung;
    this.#readings.setDriverHung(hung && !readingsCome);
    return this.#update(nowMs);
  }

  /** Without GPUs that the driver does not list: only a program's name can tell of such. */
  #ofListed(log: SmiLog): SmiLog {
    const listed = new Set(this.#known.gpus.map(({ uuid }) => uuid));
    return { ...log, gpus: log.gpus.filter(({ uuid }) => listed.has(uuid)) };
  }

  /** With what is known of GPUs that it leaves out: they have not changed for that. */
  #completed(log: SmiLog): SmiLog {
    const told = new Set(log.gpus.map(({ uuid }) => uuid));
    const older = this.#survey?.log?.gpus.filter(({ uuid }) => !told.has(uuid)) ?? [];
    return this.#ofListed({ ...log, gpus: [...log.gpus, ...older] });
  }

  #update(nowMs: number): boolean {
    const before = this.#inventory;
    const next = this.#compose();
    if (isSameInventory(before, next)) return false;
    this.#inventory = next;
    const uuids = next.gpus.map((gpu) => gpu.uuid);
    const same = uuids.join() === before.gpus.map((gpu) => gpu.uuid).join();
    if (!same) this.#readings.setGpus(uuids, nowMs);
    return true;
  }

  #compose(): GpuInventory {
    return inventoryOf({
      known: this.#known,
      survey: this.#survey,
      driverHung: this.#driverHung,
      logRemarks: this.#logRemarks,
    });
  }
}
