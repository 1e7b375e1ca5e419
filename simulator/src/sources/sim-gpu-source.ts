import {
  GPU_TIMINGS,
  type GpuActivity,
  type GpuEvent,
  type GpuInventory,
  type GpuSource,
  type RecordedGpus,
  STALE_INTERVALS,
} from "@berth/node-agent";
import { type GpuSample, GpuSampleSchema, Quality } from "@berth/proto";
import type { Clock } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { gpuReading } from "./gpu-reading.ts";
import type { LoadPattern } from "./load-pattern.ts";
import { type NodeGpu, nodeTopology } from "./node-gpus.ts";
import type { Wheel } from "./wheel.ts";

/** What a {@link SimGpuSource} works with. */
export interface SimGpuOptions {
  readonly recorded: RecordedGpus;
  readonly gpus: readonly NodeGpu[];
  /** The load of the moment. */
  readonly pattern: () => LoadPattern;
  /** Seed of the node; the same gives the same samples. */
  readonly seed: number;
  readonly clock: Clock;
  readonly wheel: Wheel;
  /** How far behind the clock's multiples of an interval the node samples, in ms. */
  readonly phaseMs: number;
  /** Start of the simulation on the clock, which loads are counted from. */
  readonly bornMs: number;
}

/** How often the driver's log is read. */
const DETAILS_INTERVAL_MS = 60_000;

/**
 * GPUs that exist only on paper: an inventory from a recording, and samples that drift from it by a seed.
 * They can fail one by one, and their driver can hang, with what a real node-agent then sees: a lost GPU
 * leaves the inventory with the driver's complaint; a hung driver makes values stale after three
 * intervals, when the real one kills its silent child, and unavailable when that has not died 5 s later.
 */
export class SimGpuSource implements GpuSource {
  readonly name = "simulated gpus";
  readonly ready: Promise<void> = Promise.resolve();
  readonly #options: SimGpuOptions;
  readonly #listeners = new Set<(event: GpuEvent) => void>();
  readonly #failed = new Set<number>();
  #intervalMs = 0;
  #leave: () => void = () => undefined;
  #sampledAtMs: number;
  #detailsAtMs: number;
  #hungSinceMs: number | undefined;
  #driverHung = false;
  #inventory: GpuInventory;

  constructor(options: SimGpuOptions) {
    this.#options = options;
    this.#sampledAtMs = options.clock.nowMs();
    this.#detailsAtMs = this.#sampledAtMs;
    this.#inventory = this.#describe();
  }

  async start(): Promise<void> {
    this.#emit("inventory");
    this.#emit("details");
  }

  async stop(): Promise<void> {
    this.#leave();
    this.#listeners.clear();
  }

  inventory(): GpuInventory {
    return this.#inventory;
  }

  samples(): GpuSample[] {
    const { clock } = this.#options;
    const ageMs = Math.max(0, Math.round(clock.nowMs() - this.#sampledAtMs));
    return this.#present().map((gpu) => this.#sample(gpu, ageMs));
  }

  activity(): GpuActivity {
    const { driverHung } = this.#inventory;
    return {
      child: driverHung ? "hung" : "running",
      childStarts: 1,
      wantedIntervalMs: this.#intervalMs,
      intervalMs: this.#intervalMs,
    };
  }

  setIntervalMs(intervalMs: number): void {
    if (intervalMs === this.#intervalMs) return;
    const { wheel, phaseMs } = this.#options;
    this.#intervalMs = intervalMs;
    this.#leave();
    this.#leave = wheel.every(intervalMs, phaseMs, () => this.#tick());
  }

  subscribe(listener: (event: GpuEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes the GPU in a slot off its bus. */
  fail(slot: number): void {
    this.#failed.add(slot);
    this.#changed();
  }

  /** Puts the GPU in a slot back. */
  restore(slot: number): void {
    if (this.#failed.delete(slot)) this.#changed();
  }

  /** Makes the driver hang, or go on. */
  setHung(hung: boolean): void {
    if (hung) {
      this.#hungSinceMs ??= this.#options.clock.nowMs();
      return;
    }
    this.#hungSinceMs = undefined;
    if (!this.#driverHung) return;
    this.#driverHung = false;
    this.#changed();
  }

  #tick(): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#hungSinceMs === undefined) {
      this.#sampledAtMs = nowMs;
      if (nowMs - this.#detailsAtMs >= DETAILS_INTERVAL_MS) {
        this.#detailsAtMs = nowMs;
        this.#emit("details");
      }
      this.#emit("samples");
      return;
    }
    const hungMs = nowMs - this.#hungSinceMs;
    const { quietLimitMs, abandonAfterMs } = GPU_TIMINGS;
    const killedMs = Math.max(quietLimitMs, STALE_INTERVALS * this.#intervalMs);
    if (hungMs > killedMs + abandonAfterMs && !this.#driverHung) {
      this.#driverHung = true;
      this.#changed();
    } else if (hungMs > STALE_INTERVALS * this.#intervalMs) {
      this.#emit("samples");
    }
  }

  #sample({ info, recorded, details }: NodeGpu, ageMs: number): GpuSample {
    const { uuid } = info;
    if (this.#driverHung) {
      return create(GpuSampleSchema, { uuid, ageMs, quality: Quality.UNAVAILABLE });
    }
    const { pattern, seed, bornMs } = this.#options;
    const atMs = this.#sampledAtMs - bornMs;
    const sample = gpuReading(recorded, {
      pattern: pattern(),
      seed: seed + info.driverIndex,
      atMs,
    });
    sample.uuid = uuid;
    sample.ageMs = ageMs;
    const stale = this.#intervalMs > 0 && ageMs > STALE_INTERVALS * this.#intervalMs;
    sample.quality = stale ? Quality.STALE : Quality.SIMULATED;
    if (details !== undefined) {
      const readMs = this.#options.clock.nowMs() - this.#detailsAtMs;
      sample.details = { ...details, ageMs: Math.max(0, Math.round(readMs)) };
    }
    return sample;
  }

  #changed(): void {
    this.#inventory = this.#describe();
    this.#emit("inventory");
    this.#emit("samples");
  }

  #present(): readonly NodeGpu[] {
    const { gpus } = this.#options;
    return gpus.filter((_gpu, slot) => !this.#failed.has(slot));
  }

  #describe(): GpuInventory {
    const { gpus, recorded } = this.#options;
    const present = this.#present();
    const remarks = gpus
      .filter((_gpu, slot) => this.#failed.has(slot))
      .map(({ info }) => lostLine(info.driverIndex, info.pciBusId));
    const hung = "driver_hung: nvidia-smi did not die after SIGKILL";
    return {
      gpus: present.map(({ info }) => info),
      error: this.#driverHung ? hung : (remarks[0] ?? ""),
      driverHung: this.#driverHung,
      topology: nodeTopology(recorded, present),
      remarks: remarks.slice(0, 16),
    };
  }

  #emit(event: GpuEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}

/** What nvidia-smi prints for a GPU that fell off its bus. */
function lostLine(index: number, pciBusId: string): string {
  const address = pciBusId.slice(4);
  return `Unable to determine the device handle for GPU${index}: ${address}: Unknown Error`;
}
