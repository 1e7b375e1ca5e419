import { HealthClass, type HealthReport, type Quality } from "@berth/proto";
import type { Clock, Logger } from "@berth/service-kit/base";
import type { GpuSource } from "../gpu/gpu-source.ts";
import type { BootGpus } from "./boot-gpus.ts";
import { Happenings } from "./happenings.ts";
import { healthReport, reportIdentity } from "./health-report.ts";
import { type HealthObservation, healthSignals } from "./health-signals.ts";
import type { HealthSource } from "./health-source.ts";
import { type Conditions, judgeHealth } from "./judge-health.ts";
import type { KernelLog, KernelMessage } from "./kernel-log.ts";
import { pciKey } from "./pci-key.ts";

/** What a {@link HealthMonitor} works with. */
export interface HealthMonitorOptions {
  readonly gpu: GpuSource;
  readonly kernelLog: KernelLog;
  readonly bootGpus: BootGpus;
  /** Boot id of the machine; "" where it has none. */
  readonly bootId: () => Promise<string>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const NO_DEVICES = "No devices were found";

/**
 * The health of the node: what the kernel log says of its GPUs, and what their samples and the driver's
 * remarks show. It has to be started before the sources that it listens to, or it misses what they tell.
 */
export class HealthMonitor implements HealthSource {
  readonly name = "health monitor";
  readonly #options: HealthMonitorOptions;
  readonly #happenings = new Happenings();
  readonly #listeners = new Set<() => void>();
  readonly #unsubscribe: (() => void)[] = [];
  #bootId = "";
  #conditions: Conditions = new Map();
  #identity = "";
  #quietWith: Quality | undefined;
  #grave = "";

  constructor(options: HealthMonitorOptions) {
    this.#options = options;
  }

  get ready(): Promise<void> {
    return this.#options.kernelLog.ready;
  }

  async start(): Promise<void> {
    const { gpu, kernelLog, bootGpus, bootId } = this.#options;
    this.#bootId = await bootId();
    await bootGpus.open(this.#bootId);
    this.#identity = reportIdentity(this.report());
    this.#unsubscribe.push(
      kernelLog.subscribe((messages) => this.#hear(messages)),
      gpu.subscribe((event) => {
        if (event !== "samples") this.#remember();
        this.#judge();
      }),
    );
  }

  async stop(): Promise<void> {
    for (const end of this.#unsubscribe.splice(0)) end();
    this.#listeners.clear();
  }

  report(): HealthReport {
    const { clock, kernelLog, bootGpus } = this.#options;
    const listed = bootGpus.list().map(({ pci, uuid }) => [pci, uuid] as const);
    return healthReport({
      nowMs: clock.nowMs(),
      bootId: this.#bootId,
      conditions: this.#conditions,
      happenings: this.#happenings.kept,
      uuids: new Map([...this.#happenings.uuids, ...listed]),
      kernelLog: kernelLog.quality(),
    });
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #hear(messages: readonly KernelMessage[]): void {
    let told = messages.length === 0;
    for (const message of messages) told = this.#happenings.take(message) || told;
    if (told) this.#judge();
  }

  #remember(): void {
    const { gpu, bootGpus } = this.#options;
    const gpus = gpu.inventory().gpus.map(({ uuid, pciBusId }) => ({
      uuid,
      pci: pciKey(pciBusId) ?? "",
    }));
    void bootGpus.see(gpus);
  }

  #judge(): void {
    this.#conditions = judgeHealth(this.#conditions, healthSignals(this.#observe()));
    if (this.#staysQuiet()) return;
    const report = this.report();
    const identity = reportIdentity(report);
    if (identity === this.#identity) return;
    this.#identity = identity;
    this.#tellGrave(report);
    for (const listener of [...this.#listeners]) listener();
  }

  /** Whether there was nothing to report and is nothing now, as in nearly every round. */
  #staysQuiet(): boolean {
    const isQuiet = this.#conditions.size === 0 && this.#happenings.kept.length === 0;
    const quality = isQuiet ? this.#options.kernelLog.quality() : undefined;
    const stays = isQuiet && quality === this.#quietWith;
    this.#quietWith = quality;
    return stays;
  }

  #observe(): HealthObservation {
    const { gpu, clock, bootGpus } = this.#options;
    const { gpus, error, driverHung, remarks } = gpu.inventory();
    // An empty list is one only when the driver says so: it may not have answered yet, or never will.
    const isEmpty = error.startsWith(NO_DEVICES);
    const isListed = gpus.length > 0 || isEmpty;
    const strangers = [...this.#conditions.values()].filter(
      ({ gpuUuid, subject }) => gpuUuid === "" && subject !== "",
    );
    return {
      nowMs: clock.nowMs(),
      bootGpus: bootGpus.list(),
      listed: isListed && !driverHung ? new Set(gpus.map(({ uuid }) => uuid)) : undefined,
      isWholeList: error === "" || isEmpty,
      samples: gpu.samples(),
      remarks,
      driverHung: driverHung ? error : undefined,
      fallen: this.#happenings.fallen,
      strangers,
    };
  }

  /** Logs the facts that ask for a reset or more, once per change of them. */
  #tellGrave(report: HealthReport): void {
    const grave = report.facts.filter(({ healthClass }) => healthClass >= HealthClass.RESET);
    const ids = grave.map(({ factId }) => factId);
    const said = ids.join(" ");
    if (said === this.#grave) return;
    this.#grave = said;
    if (ids.length === 0) this.#options.logger.info("no grave health fact holds any more");
    else
      this.#options.logger.warn("grave health facts", { facts: ids.slice(0, 16), of: ids.length });
  }
}
