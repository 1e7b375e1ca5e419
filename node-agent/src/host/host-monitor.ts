import { type HostSample, HostSampleSchema, Quality } from "@berth/proto";
import { type Clock, type Logger, sleep } from "@berth/service-kit/base";
import { clone } from "@bufbuild/protobuf";
import { readHostFacts } from "./host-facts.ts";
import { HostSampler } from "./host-sampler.ts";
import type { HostFacts, HostSource } from "./host-source.ts";

/** What a {@link HostMonitor} works with. */
export interface HostMonitorOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

const STALE_INTERVALS = 3;

/** The host this agent runs on: its facts once at start, then a sample per interval. */
export class HostMonitor implements HostSource {
  readonly name = "host monitor";
  readonly #options: HostMonitorOptions;
  readonly #sampler = new HostSampler();
  readonly #listeners = new Set<() => void>();
  readonly #ready = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #facts: HostFacts | undefined;
  #newest: { readonly sample: HostSample; readonly atMs: number } | undefined;
  #intervalMs = 0;
  #wake = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: HostMonitorOptions) {
    this.#options = options;
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

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const facts = await readHostFacts();
    this.#facts = facts;
    // The first reading gives the later ones something to compare processor time with.
    await this.#sampler.read(facts);
    this.#ready.resolve();
    while (!signal.aborted) {
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
    for (const listener of [...this.#listeners]) listener();
  }
}

// Until the server has said how often, the loop waits to be woken; the length is of no consequence.
const IDLE_MS = 60_000;
