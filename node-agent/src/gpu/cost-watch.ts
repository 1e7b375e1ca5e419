import { readFile } from "node:fs/promises";
import type { Clock, Logger } from "@berth/service-kit/base";
import { type CpuReading, coreShare, nextFactor, parseCpuMs } from "./child-cost.ts";

/** What a {@link CostWatch} works with. */
export interface CostWatchOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time over which the cost is measured, in ms. */
  readonly windowMs: number;
  /** Process id of the sampling child; undefined while there is none. */
  readonly pid: () => number | undefined;
  /** Called when the factor has changed. */
  readonly onFactor: (factor: number) => void;
}

/**
 * Watches what the sampling child costs, and says by how much its interval is to be lengthened. The
 * first look at a child only gives the next one something to compare with, so that its start, which is
 * dear, does not count. Where there is no /proc the factor stays 1.
 */
export class CostWatch {
  readonly #options: CostWatchOptions;
  #factor = 1;
  #before: CpuReading | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CostWatchOptions) {
    this.#options = options;
  }

  /** By how much the interval is lengthened, 1 to 10. */
  get factor(): number {
    return this.#factor;
  }

  start(): void {
    this.#timer = setInterval(() => void this.#look(), this.#options.windowMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Begins anew, with another interval. */
  reset(): void {
    this.#factor = 1;
    this.#before = undefined;
  }

  async #look(): Promise<void> {
    const pid = this.#options.pid();
    const cpuMs = pid === undefined ? undefined : parseCpuMs(await statOf(pid));
    const before = this.#before;
    if (pid === undefined || cpuMs === undefined) return;
    const after = { pid, cpuMs, atMs: this.#options.clock.nowMs() };
    this.#before = after;
    const share = before === undefined ? undefined : coreShare(before, after);
    const stopped = this.#timer === undefined;
    if (share === undefined || stopped || pid !== this.#options.pid()) return;
    this.#judge(share);
  }

  #judge(share: number): void {
    const factor = nextFactor(this.#factor, share);
    if (factor === this.#factor) return;
    const { logger, onFactor } = this.#options;
    const fields = { corePercent: Math.round(share * 1_000) / 10, factor };
    if (factor > this.#factor) {
      logger.warn("nvidia-smi is dear, GPUs are sampled less often", fields);
    } else {
      logger.info("nvidia-smi is cheap, GPUs are sampled more often", fields);
    }
    this.#factor = factor;
    onFactor(factor);
  }
}

/** Text of /proc/<pid>/stat; "" when it cannot be read. */
async function statOf(pid: number): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/stat`, "utf8");
  } catch {
    return ""; // the process has ended
  }
}
