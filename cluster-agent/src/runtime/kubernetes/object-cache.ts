import { BerthError, backoffMs, type Logger, sleep } from "@berth/service-kit";
import type { Changes } from "../process/changes.ts";
import type { KubeClient, WatchEvent } from "./kube-client.ts";
import { isForbidden, KubeError, kubeErrorOf } from "./kube-error.ts";
import { type KubeObject, type KubeResource, pathOf } from "./kube-objects.ts";

/** Durations of a cache. */
export interface CacheRules {
  /** The server is asked to end a watch after so long, ms: one that died unnoticed is stale no longer than that. */
  readonly watchMs: number;
  /** A watch that is not ended by then is cut off, ms after `watchMs`. */
  readonly lateMs: number;
  /** A watch that ends sooner counts as a failure, ms. */
  readonly soundMs: number;
  readonly retry: { readonly firstMs: number; readonly capMs: number };
  /** Longest wait for the cache to be in step with the server, ms. */
  readonly catchUpMs: number;
}

/** Watches of 50 s; after failures again within 5 s; 5 s to catch up. */
export const CACHE_RULES: CacheRules = {
  watchMs: 50_000,
  lateMs: 10_000,
  soundMs: 1_000,
  retry: { firstMs: 100, capMs: 5_000 },
  catchUpMs: 5_000,
};

/** What an {@link ObjectCache} is made of. */
export interface ObjectCacheOptions<T> {
  readonly client: KubeClient;
  readonly resource: KubeResource;
  /** Undefined for a kind that no namespace has. */
  readonly namespace: string | undefined;
  readonly labelSelector: string;
  /** What is kept of an object. */
  readonly keep: (object: KubeObject) => T;
  /** Is told of each change of what is kept, and of whether it is in step. */
  readonly changes: Changes;
  readonly logger: Logger;
  /** What is lost without the right to list and watch, for the log; absent where nothing goes without. */
  readonly lostWithout?: string;
  readonly rules?: Partial<CacheRules>;
}

/**
 * All objects of a kind that a selector matches: listed once, watched from there. It lists again when the history that it
 * needs is gone, watches again after a cut, for as long as it is not stopped, and says whether it is in step.
 */
export class ObjectCache<T> {
  readonly #options: ObjectCacheOptions<T>;
  readonly #rules: CacheRules;
  readonly #stop = new AbortController();
  readonly #items = new Map<string, T>();
  /** Version up to which everything is seen; undefined = it has to be listed. */
  #version: bigint | undefined;
  #isWatching = false;
  #trouble: unknown;
  #loop: Promise<void> | undefined;

  constructor(options: ObjectCacheOptions<T>) {
    this.#options = options;
    this.#rules = { ...CACHE_RULES, ...options.rules };
  }

  /** Begins to list and watch. */
  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new BerthError("UNAVAILABLE", "the Kubernetes runtime is stopped"));
    await this.#loop;
  }

  /** What is kept, by the objects' names. */
  get items(): ReadonlyMap<string, T> {
    return this.#items;
  }

  /** Whether it has listed and watches. */
  get isCurrent(): boolean {
    return this.#isWatching;
  }

  /** Resolves when it has listed and watches; UNAVAILABLE with what is wrong when that takes too long. */
  async untilCurrent(signal: AbortSignal): Promise<void> {
    await this.#until(() => this.#isWatching, signal);
  }

  /** Resolves when it has seen the version of an object that was just written. */
  async untilSeen({ metadata }: KubeObject, signal: AbortSignal): Promise<void> {
    const version = versionOf(metadata?.resourceVersion);
    await this.#until(() => this.#version !== undefined && this.#version >= version, signal);
  }

  /** Resolves when nothing is kept that a condition holds for. */
  async untilNone(isOne: (item: T) => boolean, signal: AbortSignal): Promise<void> {
    await this.#until(() => ![...this.#items.values()].some(isOne), signal);
  }

  async #until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    if (isSo()) return;
    const limit = AbortSignal.timeout(this.#rules.catchUpMs);
    const waiting = AbortSignal.any([signal, limit, this.#stop.signal]);
    try {
      await this.#options.changes.until(isSo, waiting);
    } catch (thrown) {
      if (signal.aborted || this.#stop.signal.aborted) throw thrown;
      throw this.#unavailable();
    }
  }

  #unavailable(): BerthError {
    const { plural } = this.#options.resource;
    const cause = this.#trouble;
    const why = cause instanceof Error ? `: ${cause.message}` : "";
    const message = `what the Kubernetes API has of ${plural} is not known${why}`;
    return new BerthError("UNAVAILABLE", message, { cause });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      const began = performance.now();
      try {
        if (this.#version === undefined) await this.#list();
        await this.#watch();
        failures = performance.now() - began < this.#rules.soundMs ? failures + 1 : 0;
      } catch (thrown) {
        if (signal.aborted) break;
        failures += 1;
        this.#fail(thrown);
      }
      this.#setWatching(false);
      if (failures > 0) await sleep(backoffMs(failures, this.#rules.retry), signal);
    }
    this.#setWatching(false);
  }

  #fail(thrown: unknown): void {
    const { logger, resource, lostWithout } = this.#options;
    if (String(thrown) !== String(this.#trouble)) {
      const lost = isForbidden(thrown) ? lostWithout : undefined;
      const message = lost ?? "a watch of the Kubernetes API ended";
      logger.warn(message, { kind: resource.plural, err: thrown });
    }
    this.#trouble = thrown;
    // The server answered: it will not have this version, and no later attempt with it.
    if (thrown instanceof KubeError) this.#version = undefined;
  }

  async #list(): Promise<void> {
    const { client, resource, namespace, labelSelector, keep } = this.#options;
    const path = pathOf(resource, namespace);
    const listed = await client.list(path, labelSelector, this.#stop.signal);
    this.#items.clear();
    for (const object of listed.items) this.#items.set(nameOf(object), keep(object));
    this.#version = versionOf(listed.resourceVersion);
    this.#options.changes.tell();
  }

  async #watch(): Promise<void> {
    const { client, resource, namespace, labelSelector } = this.#options;
    const { watchMs, lateMs } = this.#rules;
    const late = AbortSignal.timeout(watchMs + lateMs);
    await client.watch(resource, namespace, {
      query: {
        labelSelector,
        allowWatchBookmarks: "true",
        resourceVersion: String(this.#version),
        timeoutSeconds: String(Math.max(Math.round(watchMs / 1_000), 1)),
      },
      signal: AbortSignal.any([this.#stop.signal, late]),
      onOpen: () => this.#setWatching(true),
      onEvent: (event) => this.#take(event),
    });
  }

  #take({ type, object }: WatchEvent): void {
    if (type === "ERROR") throw kubeErrorOf(object, 500);
    if (type === "DELETED") this.#items.delete(nameOf(object));
    else if (type !== "BOOKMARK") this.#items.set(nameOf(object), this.#options.keep(object));
    this.#version = versionOf(object.metadata?.resourceVersion);
    this.#trouble = undefined;
    this.#options.changes.tell();
  }

  #setWatching(isWatching: boolean): void {
    if (this.#isWatching === isWatching) return;
    this.#isWatching = isWatching;
    this.#options.changes.tell();
  }
}

/** Versions of one API server are decimal numbers that rise over all kinds (KEP-5504). */
function versionOf(resourceVersion: string | undefined): bigint {
  return /^\d+$/.test(resourceVersion ?? "") ? BigInt(resourceVersion ?? "") : 0n;
}

function nameOf({ metadata }: KubeObject): string {
  return metadata?.name ?? "";
}
