import { GpuInfoSchema, type GpuSample } from "@berth/proto";
import { backoffMs, type Clock, type Logger, sleep } from "@berth/service-kit/base";
import { equals } from "@bufbuild/protobuf";
import { type GpuListing, listGpus } from "./gpu-inventory.ts";
import { GpuReadings, STALE_INTERVALS } from "./gpu-readings.ts";
import type { GpuEvent, GpuInventory, GpuSource } from "./gpu-source.ts";
import { parseSampleLine, SAMPLE_FIELDS, smiArguments } from "./smi-fields.ts";
import { type SmiCommand, SmiProcess } from "./smi-process.ts";

/** Times of {@link GpuMonitor}, in ms. */
export interface GpuTimings {
  /** Longest an inventory query may take. */
  readonly listDeadlineMs: number;
  /** Longest a killed child may take to die before it counts as hung in the driver. */
  readonly abandonAfterMs: number;
  /** Silence after which a sampling child is killed; at least ten intervals are given. */
  readonly quietLimitMs: number;
  /** First and longest delay before a new child after one ended. */
  readonly restartFirstMs: number;
  readonly restartCapMs: number;
  /** Shortest time between two inventories when the readings do not fit the one we have. */
  readonly relistMs: number;
  /** Time before the next look when no GPU could be listed, and when there is no driver at all. */
  readonly retryFailedMs: number;
  readonly retryAbsentMs: number;
}

/** Times for use in production; the deadlines are those of the failure model, §5. */
export const GPU_TIMINGS: GpuTimings = {
  listDeadlineMs: 20_000,
  abandonAfterMs: 5_000,
  quietLimitMs: 20_000,
  restartFirstMs: 500,
  restartCapMs: 30_000,
  relistMs: 30_000,
  retryFailedMs: 60_000,
  retryAbsentMs: 300_000,
};

/** What a {@link GpuMonitor} works with. */
export interface GpuMonitorOptions {
  readonly smi: SmiCommand;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timings?: GpuTimings;
}

const QUIET_INTERVALS = 10;
const NOT_YET_LISTED = "nvidia-smi has not answered yet";
const DRIVER_HUNG = "driver_hung: nvidia-smi did not die after SIGKILL";

/**
 * The GPUs of this machine, through `nvidia-smi`: one query for the inventory, then one long-lived
 * child that prints samples. At most one child lives at any time, one that cannot be killed included:
 * nothing is started beside it, and all values are unavailable until it is gone.
 */
export class GpuMonitor implements GpuSource {
  readonly name = "gpu monitor";
  readonly #options: GpuMonitorOptions;
  readonly #timings: GpuTimings;
  readonly #readings = new GpuReadings();
  readonly #listeners = new Set<(event: GpuEvent) => void>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  readonly #firstInterval = Promise.withResolvers<void>();
  #inventory: GpuInventory = { gpus: [], error: NOT_YET_LISTED };
  #inventoryAtMs = 0;
  #intervalMs = 0;
  #watchdog: NodeJS.Timeout | undefined;
  #child: SmiProcess | undefined;
  #lastLineMs = 0;
  #steady = false;
  #running: Promise<void> = Promise.resolve();

  constructor(options: GpuMonitorOptions) {
    this.#options = options;
    this.#timings = options.timings ?? GPU_TIMINGS;
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  async start(): Promise<void> {
    this.#running = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#watchdog);
    this.#child?.kill();
    await this.#running;
    this.#ready.resolve();
    this.#listeners.clear();
  }

  inventory(): GpuInventory {
    return this.#inventory;
  }

  samples(): GpuSample[] {
    return this.#readings.samples(this.#now());
  }

  setIntervalMs(intervalMs: number): void {
    if (this.#stopping.signal.aborted || intervalMs === this.#intervalMs) return;
    this.#intervalMs = intervalMs;
    this.#readings.setIntervalMs(intervalMs);
    clearInterval(this.#watchdog);
    this.#watchdog = setInterval(() => this.#watch(), intervalMs);
    this.#child?.kill(); // the next one is started with the new interval
    this.#firstInterval.resolve();
  }

  subscribe(listener: (event: GpuEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      const listing = await listGpus(this.#options.smi, this.#timings, signal);
      if (signal.aborted) return;
      this.#apply(listing);
      this.#ready.resolve();
      if (listing.kind === "driver_hung") {
        await untilAborted(listing.gone, signal);
      } else if (this.#inventory.gpus.length === 0) {
        const { retryAbsentMs, retryFailedMs } = this.#timings;
        await sleep(listing.kind === "no_driver" ? retryAbsentMs : retryFailedMs, signal);
      } else {
        await untilAborted(this.#firstInterval.promise, signal);
        this.#steady = false;
        await this.#sampleUntilChildEnds(signal);
        failures = this.#steady ? 1 : failures + 1;
        const { restartFirstMs: firstMs, restartCapMs: capMs } = this.#timings;
        await sleep(backoffMs(failures, { firstMs, capMs }), signal);
      }
    }
  }

  async #sampleUntilChildEnds(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#lastLineMs = this.#now();
    const child = new SmiProcess({
      smi: this.#options.smi,
      args: smiArguments(SAMPLE_FIELDS, this.#intervalMs),
      abandonAfterMs: this.#timings.abandonAfterMs,
      onLine: (line) => this.#take(line),
    });
    this.#child = child;
    const end = await child.ended;
    this.#child = undefined;
    if (signal.aborted) return;
    this.#options.logger.info("the nvidia-smi sampling child ended", { end });
    if (end.kind !== "abandoned") return;
    this.#apply({ kind: "driver_hung", gone: child.gone });
    await untilAborted(child.gone, signal);
  }

  #take(line: string): void {
    const nowMs = this.#now();
    const reading = parseSampleLine(line);
    if (reading === undefined) {
      this.#options.logger.debug("a line of nvidia-smi is no reading", {
        line: line.slice(0, 200),
      });
      return;
    }
    this.#lastLineMs = nowMs;
    const effect = this.#readings.accept(reading, nowMs);
    if (effect === "unknown_gpu") this.#doubtInventory(nowMs);
    if (effect !== "round") return;
    this.#steady = true;
    this.#emit("samples");
  }

  /** Runs once per interval: shows values growing old, and ends a child that went quiet. */
  #watch(): void {
    if (this.#inventory.gpus.length === 0) return;
    const nowMs = this.#now();
    const oldestMs = this.#readings.oldestAgeMs(nowMs);
    if (oldestMs > STALE_INTERVALS * this.#intervalMs) this.#emit("samples");
    if (this.#child === undefined) return;
    if (oldestMs > QUIET_INTERVALS * this.#intervalMs) this.#doubtInventory(nowMs);
    const limitMs = Math.max(this.#timings.quietLimitMs, QUIET_INTERVALS * this.#intervalMs);
    if (nowMs - this.#lastLineMs > limitMs) this.#child.kill();
  }

  /** Ends the child when the inventory may have changed: the next turn of the loop lists again. */
  #doubtInventory(nowMs: number): void {
    // A quiet child says nothing about the set; it is given its own, longer limit.
    const speaks = nowMs - this.#lastLineMs <= STALE_INTERVALS * this.#intervalMs;
    if (speaks && nowMs - this.#inventoryAtMs > this.#timings.relistMs) this.#child?.kill();
  }

  #apply(listing: GpuListing): void {
    const nowMs = this.#now();
    const next = nextInventory(this.#inventory, listing);
    this.#inventoryAtMs = nowMs;
    this.#readings.setDriverHung(listing.kind === "driver_hung");
    if (isSameInventory(this.#inventory, next)) return;
    this.#inventory = next;
    this.#readings.setGpus(
      next.gpus.map((gpu) => gpu.uuid),
      nowMs,
    );
    const fields = { gpus: next.gpus.length, error: next.error };
    if (next.error === "") this.#options.logger.info("GPU inventory", fields);
    else this.#options.logger.warn("GPU inventory has an error", fields);
    this.#emit("inventory");
  }

  #emit(event: GpuEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #now(): number {
    return this.#options.clock.nowMs();
  }
}

/**
 * The inventory after a listing: when the driver could not list, the GPUs it listed before are kept,
 * with the error beside them; they are still in the machine as far as anyone knows. Pure.
 */
export function nextInventory(before: GpuInventory, listing: GpuListing): GpuInventory {
  if (listing.kind === "listed") return { gpus: listing.gpus, error: listing.error };
  if (listing.kind === "failed") return { gpus: before.gpus, error: listing.error };
  if (listing.kind === "driver_hung") return { gpus: before.gpus, error: DRIVER_HUNG };
  const vanished = before.gpus.length > 0 ? "nvidia-smi is no longer installed" : "";
  return { gpus: before.gpus, error: vanished };
}

function isSameInventory(a: GpuInventory, b: GpuInventory): boolean {
  if (a.error !== b.error || a.gpus.length !== b.gpus.length) return false;
  return a.gpus.every((gpu, index) => {
    const other = b.gpus[index];
    return other !== undefined && equals(GpuInfoSchema, gpu, other);
  });
}

async function untilAborted(wait: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const aborted = Promise.withResolvers<void>();
  const resolve = () => aborted.resolve();
  signal.addEventListener("abort", resolve, { once: true });
  await Promise.race([wait, aborted.promise]);
  signal.removeEventListener("abort", resolve);
}
