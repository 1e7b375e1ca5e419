import type { Clock, Logger } from "@berth/service-kit/base";
import {
  type GpuReading,
  parseSampleLine,
  REASON_FIELDS,
  refusesField,
  SAMPLE_FIELDS,
  smiArguments,
} from "./smi-fields.ts";
import type { SmiProcess } from "./smi-process.ts";
import type { SmiRunner } from "./smi-runner.ts";

/** What a {@link GpuSampler} works with. */
export interface GpuSamplerOptions {
  readonly runner: SmiRunner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called per reading of a GPU. */
  readonly onReading: (reading: GpuReading, nowMs: number) => void;
  /** Called per line that is no reading. */
  readonly onOther: (line: string, nowMs: number) => void;
}

/** The long-lived child that prints a reading of each GPU per interval. */
export class GpuSampler {
  readonly #options: GpuSamplerOptions;
  #child: SmiProcess | undefined;
  #starts = 0;
  #startedMs = 0;
  #lastLineMs = 0;
  #reasonField = 0;
  #refusalTold = false;

  constructor(options: GpuSamplerOptions) {
    this.#options = options;
  }

  /** Process id of the child; undefined while there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Whether a child lives, as far as is known. */
  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Children that were started so far. */
  get starts(): number {
    return this.#starts;
  }

  /** Time since the child was started, in ms. */
  runningMs(nowMs: number): number {
    return nowMs - this.#startedMs;
  }

  /** Time since the last reading, or since the child was started, in ms. */
  quietMs(nowMs: number): number {
    return nowMs - this.#lastLineMs;
  }

  /** Whether the child has printed a reading. */
  get hasPrinted(): boolean {
    return this.#lastLineMs > this.#startedMs;
  }

  /** Ends the child; `run` follows. */
  kill(): void {
    this.#child?.kill();
  }

  /**
   * Runs one child until it ends, or is abandoned; returns at once while the driver hangs. A child that
   * refuses the field of the throttle reasons is followed by one with the field of older drivers.
   */
  async run(intervalMs: number): Promise<void> {
    let refused: boolean;
    do refused = await this.#runOnce(intervalMs);
    while (refused);
  }

  async #runOnce(intervalMs: number): Promise<boolean> {
    const { runner, clock, logger } = this.#options;
    const reasonField = REASON_FIELDS[this.#reasonField];
    const fields = reasonField === undefined ? SAMPLE_FIELDS : [...SAMPLE_FIELDS, reasonField];
    let refused = false;
    this.#startedMs = clock.nowMs();
    this.#lastLineMs = this.#startedMs;
    const child = runner.start(smiArguments(fields, intervalMs), (line) => {
      if (refusesField(line)) refused = true;
      this.#take(line);
    });
    if (child === undefined) return false;
    this.#child = child;
    this.#starts += 1;
    const end = await child.ended;
    this.#child = undefined;
    logger.info("the nvidia-smi sampling child ended", { end });
    if (refused && reasonField === undefined) this.#tellRefused();
    if (!refused || reasonField === undefined) return false;
    this.#reasonField += 1;
    logger.info("the driver does not know a field; the next older one is asked for", {
      field: reasonField,
    });
    return true;
  }

  #tellRefused(): void {
    if (this.#refusalTold) return;
    this.#refusalTold = true;
    this.#options.logger.warn("the driver does not know a field that GPU samples need", {
      fields: SAMPLE_FIELDS,
    });
  }

  #take(line: string): void {
    const nowMs = this.#options.clock.nowMs();
    const reading = parseSampleLine(line);
    if (reading === undefined) {
      this.#options.onOther(line, nowMs);
      return;
    }
    this.#lastLineMs = nowMs;
    this.#options.onReading(reading, nowMs);
  }
}
