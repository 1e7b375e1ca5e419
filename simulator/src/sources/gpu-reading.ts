import type { GpuSample } from "@berth/proto";
import { type LoadPattern, loadAt } from "./load-pattern.ts";
import { mixedShare } from "./mixed-hash.ts";

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
/** Share of its power limit that an idle GPU draws, and that a full one would draw beyond it. */
const IDLE_POWER = 0.12;
const LOAD_POWER = 0.95;
/**
 * One GPU in so many is cooled badly. Only a load that stays full makes it hot: each time that it got there in waves
 * would be another event of its health.
 */
const ONE_HOT_IN = 64;
const HOT_LOAD_C = 60;
/** Where the driver takes the clocks back. */
const SLOWDOWN_C = 85;

/**
 * A reading under the load of the moment, without details; id, age and quality are the recording's. What the device could not
 * say in the recording it cannot say here either.
 */
export function gpuReading(recorded: GpuSample, moment: ReadingMoment): GpuSample {
  const { compute, memory } = loadAt(moment.pattern, moment.seed, moment.atMs);
  // A copy by hand: this is most of what a large fleet does.
  const sample: GpuSample = { ...recorded };
  if (recorded.utilizationPercent !== undefined) {
    sample.utilizationPercent = Math.round(100 * compute);
  }
  if (recorded.memoryUtilizationPercent !== undefined) {
    sample.memoryUtilizationPercent = Math.round(60 * compute);
  }
  if (recorded.temperatureC !== undefined) {
    const warmth = isBadlyCooled(moment) ? HOT_LOAD_C : LOAD_C;
    sample.temperatureC = Math.round(AMBIENT_C + warmth * compute);
  }
  if (recorded.powerW !== undefined && recorded.powerLimitW !== undefined) {
    const share = Math.min(1, IDLE_POWER + LOAD_POWER * compute);
    sample.powerW = Math.round(recorded.powerLimitW * share * 100) / 100;
  }
  if (recorded.memoryUsedMib !== undefined && recorded.memoryFreeMib !== undefined) {
    const usable = recorded.memoryUsedMib + recorded.memoryFreeMib;
    sample.memoryUsedMib = BigInt(Math.round(Number(usable) * memory));
    sample.memoryFreeMib = usable - sample.memoryUsedMib;
  }
  sample.throttleReasons = throttledBy(sample, compute);
  return sample;
}

/** Why the clocks are lower than they could be, in the order of the driver's bits. */
function throttledBy({ powerW, powerLimitW, temperatureC }: GpuSample, compute: number): string[] {
  if (compute < 0.01) return ["gpu_idle"];
  const reasons: string[] = [];
  if (powerW !== undefined && powerLimitW !== undefined && powerW >= powerLimitW) {
    reasons.push("sw_power_cap");
  }
  if (temperatureC !== undefined && temperatureC >= SLOWDOWN_C) reasons.push("sw_thermal_slowdown");
  return reasons;
}

function isBadlyCooled({ pattern, seed }: ReadingMoment): boolean {
  return pattern === "busy" && mixedShare(seed, 3) < 1 / ONE_HOT_IN;
}
