import { type GpuSample, Quality } from "@berth/proto";
import { systemClock } from "@berth/service-kit/base";
import { GpuMonitor } from "../gpu/gpu-monitor.ts";
import type { GpuEvent, InstanceOf } from "../gpu/gpu-source.ts";
import { GPU_TIMINGS, type GpuTimings } from "../gpu/gpu-timings.ts";
import type { SmiCommand } from "../gpu/smi-process.ts";
import { collectingLogger, type LogLine } from "./collecting-logger.ts";
import { type FakeSmiRun, fakeSmiRun } from "./fake-smi-run.ts";

/** Times with which tests of the monitor are quick. */
export const QUICK_TIMINGS: GpuTimings = {
  ...GPU_TIMINGS,
  listDeadlineMs: 5_000,
  abandonAfterMs: 200,
  quietLimitMs: 1_000,
  firstLineMs: 5_000,
  restartFirstMs: 20,
  restartCapMs: 200,
  relistMs: 200,
  relistLostMs: 200,
  retryFailedMs: 100,
};

/** How a monitor is made. */
export interface MonitorOptions {
  /** The fake by default. */
  readonly smi?: SmiCommand;
  readonly timings?: GpuTimings;
  readonly instanceOf?: InstanceOf;
}

/** A monitor over a fake nvidia-smi, and what it told. */
export class GpuMonitorRun {
  readonly fake: FakeSmiRun;
  readonly events: GpuEvent[] = [];
  readonly lines: LogLine[] = [];
  #measuredRounds = 0;
  #monitor: GpuMonitor | undefined;

  private constructor(fake: FakeSmiRun) {
    this.fake = fake;
  }

  /** Prepares a fake that plays `profile`. */
  static async prepare(profile: string): Promise<GpuMonitorRun> {
    return new GpuMonitorRun(await fakeSmiRun(profile));
  }

  /** Rounds of readings only: the monitor also tells of samples when values grow old. */
  get measuredRounds(): number {
    return this.#measuredRounds;
  }

  /** Times that samples were told of. */
  get rounds(): number {
    return this.events.filter((event) => event === "samples").length;
  }

  /** A monitor that is not started. */
  create({ smi = this.fake.smi, timings = QUICK_TIMINGS, instanceOf }: MonitorOptions = {}) {
    const monitor = new GpuMonitor({
      ...{ smi, clock: systemClock, logger: collectingLogger(this.lines), timings },
      ...(instanceOf === undefined ? {} : { instanceOf }),
    });
    this.#monitor = monitor;
    monitor.subscribe((event) => {
      this.events.push(event);
      if (event === "samples" && monitor.samples().every(isMeasured)) this.#measuredRounds += 1;
    });
    return monitor;
  }

  /** A monitor that was started and knows its GPUs. */
  async begin(options: MonitorOptions = {}): Promise<GpuMonitor> {
    const monitor = this.create(options);
    await monitor.start();
    await monitor.ready;
    return monitor;
  }

  /** Stops the monitor and whatever of the fake still runs. */
  async dispose(): Promise<void> {
    await this.#monitor?.stop();
    await this.fake.dispose();
  }
}

/** Qualities of a monitor's samples. */
export function qualitiesOf(monitor: GpuMonitor): Quality[] {
  return monitor.samples().map(({ quality }) => quality);
}

function isMeasured({ quality }: GpuSample): boolean {
  return quality === Quality.MEASURED;
}
