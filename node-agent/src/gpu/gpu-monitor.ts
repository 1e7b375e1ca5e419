import type { GpuSample } from "@berth/proto";
import { type Clock, type Logger, sleep } from "@berth/service-kit/base";
import { ChildPace } from "./child-pace.ts";
import { CostWatch } from "./cost-watch.ts";
import { type GpuListing, tellsOfLostGpu } from "./gpu-inventory.ts";
import { GpuPicture } from "./gpu-picture.ts";
import { STALE_INTERVALS } from "./gpu-readings.ts";
import { GpuSampler } from "./gpu-sampler.ts";
import type { GpuActivity, GpuEvent, GpuInventory, GpuSource, InstanceOf } from "./gpu-source.ts";
import { listGpus, surveyGpus } from "./gpu-survey.ts";
import { GPU_TIMINGS, type GpuTimings } from "./gpu-timings.ts";
import { InventoryDoubts } from "./inventory-doubts.ts";
import { readLogs } from "./log-loop.ts";
import { withInstances } from "./process-instances.ts";
import type { GpuReading } from "./smi-fields.ts";
import type { SmiCommand } from "./smi-process.ts";
import { type QueryLimits, SmiRunner } from "./smi-runner.ts";
import { untilAborted } from "./until-aborted.ts";

/** What a {@link GpuMonitor} works with. */
export interface GpuMonitorOptions {
  readonly smi: SmiCommand;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timings?: GpuTimings;
  /** Names the instance of a process on a GPU; none is named without it. */
  readonly instanceOf?: InstanceOf;
}

/** Intervals without a reading of a GPU, while others are read, after which it may be gone. */
const MISSED_INTERVALS = 10;

/**
 * The GPUs of this machine, through `nvidia-smi`: an inventory at start and when readings do not fit it,
 * one long-lived child that prints readings, and the log once a minute. Once a child cannot be killed
 * nothing is started beside it; readings of a child that was started before still count, without one
 * all values are unavailable until it is gone.
 */
export class GpuMonitor implements GpuSource {
  readonly name = "gpu monitor";
  readonly #options: GpuMonitorOptions;
  readonly #timings: GpuTimings;
  readonly #picture: GpuPicture;
  readonly #runner: SmiRunner;
  readonly #sampler: GpuSampler;
  readonly #costs: CostWatch;
  readonly #listeners = new Set<(event: GpuEvent) => void>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  readonly #firstInterval = Promise.withResolvers<void>();
  readonly #doubts: InventoryDoubts;
  readonly #pace: ChildPace;
  #wantedMs = 0;
  #sampledMs = 0;
  #staleDetails = 0;
  #watchdog: NodeJS.Timeout | undefined;
  #isReplaced = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: GpuMonitorOptions) {
    const { smi, clock, logger, timings = GPU_TIMINGS } = options;
    this.#options = options;
    this.#timings = timings;
    this.#picture = new GpuPicture(timings.detailsMs);
    this.#doubts = new InventoryDoubts(timings);
    this.#pace = new ChildPace(timings);
    this.#costs = new CostWatch({
      clock,
      logger,
      windowMs: timings.costWindowMs,
      pid: () => this.#sampler.pid,
      onFactor: () => this.#adjust(),
    });
    const { abandonAfterMs } = timings;
    const onHung = () => this.#showHung();
    this.#runner = new SmiRunner({ smi, abandonAfterMs, onHung });
    this.#sampler = new GpuSampler({
      runner: this.#runner,
      clock,
      logger,
      onReading: (reading, nowMs) => this.#take(reading, nowMs),
      onOther: (line, nowMs) => this.#takeOther(line, nowMs),
    });
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  async start(): Promise<void> {
    const { signal } = this.#stopping;
    this.#running = Promise.all([this.#run(signal), this.#readDetails()]);
    this.#costs.start();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#costs.stop();
    clearInterval(this.#watchdog);
    this.#sampler.kill();
    await this.#running;
    this.#ready.resolve();
    this.#listeners.clear();
  }

  inventory(): GpuInventory {
    return this.#picture.inventory;
  }

  samples(): GpuSample[] {
    return this.#picture.samples(this.#now());
  }

  activity(): GpuActivity {
    const idle = this.#sampler.running ? "running" : "stopped";
    return {
      child: this.#runner.hung ? "hung" : idle,
      childStarts: this.#sampler.starts,
      wantedIntervalMs: this.#wantedMs,
      intervalMs: this.#intervalMs,
    };
  }

  setIntervalMs(intervalMs: number): void {
    if (this.#stopping.signal.aborted || intervalMs === this.#wantedMs) return;
    this.#wantedMs = intervalMs;
    this.#costs.reset();
    this.#adjust();
    this.#firstInterval.resolve();
  }

  subscribe(listener: (event: GpuEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get #intervalMs(): number {
    return this.#wantedMs * this.#costs.factor;
  }

  get #limits(): QueryLimits {
    return { deadlineMs: this.#timings.listDeadlineMs, signal: this.#stopping.signal };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#runner.untilFree(signal);
      const listing = await this.#takeInventory();
      if (signal.aborted) return;
      this.#ready.resolve();
      if (listing.kind === "driver_hung") continue;
      if (this.inventory().gpus.length === 0) {
        const { retryAbsentMs, retryFailedMs } = this.#timings;
        await sleep(listing.kind === "no_driver" ? retryAbsentMs : retryFailedMs, signal);
        continue;
      }
      await untilAborted(this.#firstInterval.promise, signal);
      await this.#sample(signal);
      const ranMs = this.#sampler.runningMs(this.#now());
      await sleep(this.#pace.delayAfter({ ranMs, isReplaced: this.#isReplaced }), signal);
    }
  }

  async #takeInventory(): Promise<GpuListing> {
    const listing = await listGpus(this.#runner, this.#limits);
    const listedAtMs = this.#now();
    if (listing.kind === "aborted") return listing;
    const changed = this.#picture.takeListing(listing, listedAtMs);
    this.#doubts.listed(listedAtMs, changed);
    this.#show(changed);
    if (listing.kind !== "listed" || !this.#picture.needsSurvey) return listing;
    const { survey, logRemarks, problems } = await surveyGpus(
      this.#runner,
      listing.gpus,
      this.#limits,
    );
    if (this.#stopping.signal.aborted) return { kind: "aborted" };
    for (const problem of problems) this.#options.logger.warn("nvidia-smi tells less", { problem });
    const log = survey.log && (await withInstances(survey.log, this.#options.instanceOf));
    this.#show(this.#picture.takeSurvey({ ...survey, log }, logRemarks, this.#now()));
    if (log !== undefined) this.#emit("details");
    return listing;
  }

  async #sample(signal: AbortSignal): Promise<void> {
    this.#isReplaced = false;
    if (signal.aborted) return;
    this.#sampledMs = this.#intervalMs;
    await this.#sampler.run(this.#sampledMs);
    if (!signal.aborted) this.#showHung();
  }

  /** Reads the log once per `detailsMs`, for as long as the driver answers. */
  #readDetails(): Promise<void> {
    return readLogs({
      runner: this.#runner,
      limits: this.#limits,
      logger: this.#options.logger,
      everyMs: this.#timings.detailsMs,
      answers: () => {
        const quietMs = this.#sampler.quietMs(this.#now());
        return this.#sampler.running && quietMs <= STALE_INTERVALS * this.#sampledMs;
      },
      onLog: async ({ log, remarks }) => {
        const named = await withInstances(log, this.#options.instanceOf);
        this.#show(this.#picture.takeLog(named, remarks, this.#now()));
        this.#emit("details");
        if (this.#picture.surveyDoubted) this.#doubtReadings(this.#now());
      },
    });
  }

  #take(reading: GpuReading, nowMs: number): void {
    const effect = this.#picture.takeReading(reading, nowMs);
    if (effect === "unknown_gpu") this.#doubtReadings(nowMs);
    if (effect === "round") this.#emit("samples");
  }

  #takeOther(line: string, nowMs: number): void {
    const text = line.slice(0, 300);
    this.#options.logger.debug("a line of nvidia-smi is no reading", { line: text });
    // A driver that has lost a GPU says so in every round.
    if (!tellsOfLostGpu(text) || this.#picture.isListedRemark(text)) return;
    if (this.#doubts.ofLostGpu(text, nowMs)) this.#replaceChild();
  }

  /** Runs once per interval: shows values growing old, and ends a child that went quiet. */
  #watch(): void {
    const nowMs = this.#now();
    if (this.inventory().gpus.length === 0 || this.#stopping.signal.aborted) return;
    const oldestMs = this.#picture.oldestAgeMs(nowMs);
    if (oldestMs > STALE_INTERVALS * this.#intervalMs) this.#emit("samples");
    const staleDetails = this.#picture.staleDetails(nowMs);
    if (staleDetails !== this.#staleDetails) this.#emit("details");
    this.#staleDetails = staleDetails;
    if (!this.#sampler.running) return;
    // A child that has just been started cannot have told of all GPUs.
    const missedMs = Math.min(oldestMs, this.#sampler.runningMs(nowMs));
    if (missedMs > MISSED_INTERVALS * this.#intervalMs) this.#doubtReadings(nowMs);
    if (this.#sampledMs !== this.#intervalMs) this.#replaceChild();
    const limitMs = this.#pace.quietLimitMs(this.#sampler.hasPrinted, this.#intervalMs);
    if (this.#sampler.quietMs(nowMs) <= limitMs) return;
    this.#picture.fallenSilent();
    this.#endChild();
  }

  /** Has the inventory listed again when readings say that it may have changed, if that is not too early. */
  #doubtReadings(nowMs: number): void {
    // A quiet child says nothing about the set; it is given its own limit.
    const speaks = this.#sampler.quietMs(nowMs) <= STALE_INTERVALS * this.#intervalMs;
    if (speaks && this.#doubts.ofReadings(nowMs)) this.#replaceChild();
  }

  /** Ends a child that is well, to list anew or to sample at another interval. */
  #replaceChild(): void {
    this.#isReplaced = !this.#runner.hung;
    this.#endChild();
  }

  /** Ends the child, unless nothing could be started in its place. */
  #endChild(): void {
    if (!this.#runner.hung) this.#sampler.kill();
  }

  /** Lets the interval take effect; the child is started anew with it. */
  #adjust(): void {
    this.#picture.setIntervalMs(this.#intervalMs, this.#now());
    clearInterval(this.#watchdog);
    // After a stall of this process the lines that came meanwhile are read first.
    this.#watchdog = setInterval(() => setImmediate(() => this.#watch()), this.#intervalMs);
    this.#replaceChild();
  }

  #showHung(): void {
    const { hung } = this.#runner;
    this.#show(this.#picture.setDriverHung(hung, this.#sampler.running, this.#now()));
  }

  #show(changed: boolean): void {
    if (!changed) return;
    const { gpus, error, remarks } = this.inventory();
    const fields = { gpus: gpus.length, error, remarks };
    if (error === "") this.#options.logger.info("GPU inventory", fields);
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
