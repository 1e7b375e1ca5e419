import { type HostSample, HostSampleSchema, Quality } from "@berth/proto";
import { type Clock, type Logger, sleep } from "@berth/service-kit/base";
import { clone } from "@bufbuild/protobuf";
import { HostFactsReader } from "./host-facts.ts";
import { HostSampler } from "./host-sampler.ts";
import type { HostEvent, HostFacts, HostSource } from "./host-source.ts";
import { MountProbe } from "./mount-probe.ts";

/** What a {@link HostMonitor} works with. */
export interface HostMonitorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** How mounted file systems are asked. */
  readonly mounts?: MountProbe;
  /** Reads the facts; those of this machine by default. */
  readonly factsReader?: Pick<HostFactsReader, "read" | "refresh">;
  /** Time between two looks for disks and network interfaces that came or went, in ms; 30 s by default. */
  readonly factsIntervalMs?: number;
}

const STALE_INTERVALS = 3;
const FACTS_INTERVAL_MS = 30_000;

/**
 * The host this agent runs on: its facts at start, then a sample per interval, and from time to time
 * another look for disks and network interfaces that came or went.
 */
export class HostMonitor implements HostSource {
  readonly name = "host monitor";
  readonly #options: HostMonitorOptions;
  readonly #sampler: HostSampler;
  readonly #factsReader: Pick<HostFactsReader, "read" | "refresh">;
  readonly #listeners = new Set<(event: HostEvent) => void>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #facts: HostFacts | undefined;
  #factsAtMs = 0;
  #newest: { readonly sample: HostSample; readonly atMs: number } | undefined;
  #intervalMs = 0;
  #wake = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: HostMonitorOptions) {
    this.#options = options;
    const mounts = options.mounts ?? new MountProbe();
    this.#sampler = new HostSampler(mounts);
    this.#factsReader = options.factsReader ?? new HostFactsReader(mounts);
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  async start(): Promise<void> {
    this.#running = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#wake.abort();
    this.#ready.resolve();
    await this.#running;
    this.#listeners.clear();
  }

  facts(): HostFacts | undefined {
    return this.#facts;
  }

  sample(): HostSample | undefined {
    if (this.#newest === undefined) return undefined;
    const sample = clone(HostSampleSchema, this.#newest.sample);
    const ageMs = Math.max(0, this.#options.clock.nowMs() - this.#newest.atMs);
    sample.ageMs = Math.min(0xffff_ffff, Math.round(ageMs));
    const stale = ageMs > STALE_INTERVALS * this.#intervalMs;
    if (stale && sample.quality === Quality.MEASURED) sample.quality = Quality.STALE;
    return sample;
  }

  setIntervalMs(intervalMs: number): void {
    if (intervalMs === this.#intervalMs) return;
    this.#intervalMs = intervalMs;
    this.#wake.abort();
  }

  subscribe(listener: (event: HostEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #run(signal: AbortSignal): Promise<void> {
    let facts = await this.#factsReader.read();
    this.#facts = facts;
    this.#factsAtMs = this.#options.clock.nowMs();
    // The first reading gives the later ones something to compare processor time with.
    await this.#sampler.read(facts);
    this.#ready.resolve();
    while (!signal.aborted) {
      facts = await this.#refresh(facts);
      if (this.#intervalMs > 0) await this.#readOnce(facts);
      if (signal.aborted) return;
      this.#wake = new AbortController();
      await sleep(this.#intervalMs > 0 ? this.#intervalMs : IDLE_MS, this.#wake.signal);
    }
  }

  async #readOnce(facts: HostFacts): Promise<void> {
    const sample = await this.#sampler.read(facts);
    this.#newest = { sample, atMs: this.#options.clock.nowMs() };
    this.#options.logger.debug("host sampled", { measured: sample.quality === Quality.MEASURED });
    this.#emit("sample");
  }

  async #refresh(before: HostFacts): Promise<HostFacts> {
    const { clock, logger, factsIntervalMs = FACTS_INTERVAL_MS } = this.#options;
    if (clock.nowMs() - this.#factsAtMs < factsIntervalMs) return before;
    const facts = await this.#factsReader.refresh(before);
    this.#factsAtMs = clock.nowMs();
    if (facts === before) return before;
    this.#facts = facts;
    const { disks, networkInterfaces } = facts;
    const fields = { disks: disks.length, networkInterfaces: networkInterfaces.length };
    logger.info("disks or network interfaces have changed", fields);
    this.#emit("facts");
    return facts;
  }

  #emit(event: HostEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}

// Until the server has said how often, the loop waits to be woken; the length is of no consequence.
const IDLE_MS = 60_000;
