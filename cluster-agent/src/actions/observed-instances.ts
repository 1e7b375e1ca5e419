import { type Logger, type Part, sleep } from "@berth/service-kit";
import type { Observation, ObservedInstance, Runtime } from "../runtime/runtime.ts";

const NOTHING: ReadonlyMap<string, ObservedInstance> = new Map();
/** Changes are gathered for so long, ms. */
const GATHER_MS = 100;
/** A runtime that does not answer is asked again after so long, ms. */
const RETRY_MS = 2_000;
/** It is asked that often although it has told nothing, ms: what it tells may get lost. */
const REFRESH_MS = 30_000;

/** What runs, as it was observed last: for whoever shows it. Decisions ask the runtime itself. */
export class ObservedInstances implements Part {
  readonly name = "observed instances";
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  #byId = NOTHING;
  #version = 0;
  #changed = Promise.withResolvers<void>();
  #loop: Promise<void> | undefined;

  constructor(runtime: Runtime, logger: Logger) {
    this.#runtime = runtime;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    const forget = this.#runtime.onChange(() => this.#changed.resolve());
    this.#stop.signal.addEventListener("abort", forget, { once: true });
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#changed.resolve();
    await this.#loop;
  }

  /** By instance id. */
  get byId(): ReadonlyMap<string, ObservedInstance> {
    return this.#byId;
  }

  /** Rises with each observation. */
  get version(): number {
    return this.#version;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let isFailing = false;
    while (!signal.aborted) {
      this.#changed = Promise.withResolvers();
      try {
        this.#take(await this.#runtime.observe(signal));
        isFailing = false;
      } catch (err) {
        if (signal.aborted) return;
        if (!isFailing) this.#logger.warn("what runs cannot be observed", { err });
        isFailing = true;
        await sleep(RETRY_MS, signal);
        continue;
      }
      await Promise.race([this.#changed.promise, sleep(REFRESH_MS, signal)]);
      await sleep(GATHER_MS, signal);
    }
  }

  #take({ instances }: Observation): void {
    this.#byId = new Map(instances.map((one) => [one.instanceId, one]));
    this.#version += 1;
  }
}
