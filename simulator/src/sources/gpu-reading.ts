import type { GpuSample } from "@berth/proto";
import { type LoadPattern, loadAt } from "./load-pattern.ts";

/** Which load a reading shows. */
export interface ReadingMoment {
  readonly pattern: LoadPattern;
  /** Of the GPU. */
  readonly seed: number;
  /** Since the start of the simulation, in ms. */
  readonly atMs: number;
}

const AMBIENT_C = 32;
const LOAD_C = 40;
/** Share of its power limit that an idle GPU draws, and that a full one draws beyond it. */
const IDLE_POWER = 0.12;
const LOAD_POWER = 0.8;

/**
 * A reading under the load of the moment, without details; id, age and quality are the recording's. What the device could not
 * say in the recording it cannot say here either.
 */
export function gpuReading(recorded: GpuSample, moment: ReadingMoment): GpuSample {
  const { compute, memory } = loadAt(moment.pattern, moment.seed, moment.atMs);
  // A copy by hand: this is most of what a large fleet does.
  const sample: GpuSample = { ...recorded, throttleReasons: compute < 0.01 ? ["gpu_idle"] : [] };
  if (recorded.utilizationPercent !== undefined) {
    sample.utilizationPercent = Math.round(100 * compute);
  }
  if (recorded.memoryUtilizationPercent !== undefined) {
    sample.memoryUtilizationPercent = Math.round(60 * compute);
  }
  if (recorded.temperatureC !== undefined) {
    sample.temperatureC = Math.round(AMBIENT_C + LOAD_C * compute);
  }
  if (recorded.powerW !== undefined && recorded.powerLimitW !== undefined) {
    const share = IDLE_POWER + LOAD_POWER * compute;
    sample.powerW = Math.round(recorded.powerLimitW * share * 100) / 100;
  }
  if (recorded.memoryUsedMib !== undefined && recorded.memoryFreeMib !== undefined) {
    const usable = recorded.memoryUsedMib + recorded.memoryFreeMib;
    sample.memoryUsedMib = BigInt(Math.round(Number(usable) * memory));
    sample.memoryFreeMib = usable - sample.memoryUsedMib;
  }
  return sample;
}
