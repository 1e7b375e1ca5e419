import { BerthError, type Logger, type Part } from "@berth/service-kit";
import { Changes } from "../process/changes.ts";
import type { ApplyOutcome, BlockSpec, InstanceSpec, Observation, Runtime } from "../runtime.ts";
import type { GpuBinding } from "./gpu-binding.ts";
import { type Job, JobOrder } from "./job-order.ts";
import { keptDeployment, keptPod, keptRoot } from "./kept-objects.ts";
import type { KubeClient } from "./kube-client.ts";
import { toRuntimeError } from "./kube-error.ts";
import { type KubeObject, type KubeResource, pathOf, RESOURCES } from "./kube-objects.ts";
import { ObjectApplier } from "./object-applier.ts";
import { type CacheRules, ObjectCache } from "./object-cache.ts";
import {
  blockIdRefusal,
  type InstanceKey,
  instanceIdRefusal,
  LABELS,
  selectorOf,
} from "./object-names.ts";
import { ObjectRemoval } from "./object-removal.ts";
import { type MadeInstances, observedInstances } from "./observed-instance.ts";
import { blockRefusal, instanceRefusal, programRefusal } from "./spec-refusals.ts";
import type { WorkloadOptions } from "./workload-options.ts";

/** What a Kubernetes runtime is made of. */
export interface KubernetesRuntimeOptions {
  readonly client: KubeClient;
  readonly clusterId: string;
  /** Namespace of the blocks; it has to exist. */
  readonly namespace: string;
  readonly gpuBinding: GpuBinding;
  readonly workloads: WorkloadOptions;
  /** Why this agent may do nothing (another one is active); undefined when it may. */
  readonly whyInactive?: () => string | undefined;
  readonly logger: Logger;
  readonly rules?: Partial<CacheRules>;
  /** A removal looks again after so long when nothing is told, ms; 1,000 by default. */
  readonly pollMs?: number;
}

const POLL_MS = 1_000;

/**
 * Blocks as objects of a Kubernetes namespace: a root per block, below it a Deployment and a Service per instance. The
 * objects say all that there is to know; the agent keeps nothing of its own. Docs: docs/kubernetes.md, ADR 17.
 */
export class KubernetesRuntime implements Runtime, Part {
  readonly kind = "kubernetes";
  readonly name = "kubernetes runtime";
  readonly #options: KubernetesRuntimeOptions;
  readonly #changes = new Changes();
  readonly #order = new JobOrder();
  readonly #made: MadeInstances = new WeakMap();
  readonly #roots: ObjectCache<KubeObject>;
  readonly #deployments: ObjectCache<ReturnType<typeof keptDeployment>>;
  readonly #pods: ObjectCache<ReturnType<typeof keptPod>>;
  readonly #applier: ObjectApplier;
  readonly #removal: ObjectRemoval;

  constructor(options: KubernetesRuntimeOptions) {
    this.#options = options;
    const { client, clusterId, namespace, gpuBinding, pollMs = POLL_MS } = options;
    this.#roots = this.#cache(RESOURCES.configMap, keptRoot);
    this.#deployments = this.#cache(RESOURCES.deployment, keptDeployment);
    this.#pods = this.#cache(RESOURCES.pod, keptPod);
    const caches = {
      ...{ roots: this.#roots, deployments: this.#deployments, pods: this.#pods },
      changes: this.#changes,
    };
    this.#removal = new ObjectRemoval({ client, clusterId, namespace, caches, pollMs });
    const rules = { clusterId, namespace, gpuBinding, options: options.workloads };
    this.#applier = new ObjectApplier({ client, rules, caches, removal: this.#removal });
  }

  /** Rejects with UNAVAILABLE, or with what the API server refuses, until all objects are known; it may be tried again. */
  async start(): Promise<void> {
    for (const cache of this.#caches()) cache.start();
    await this.#untilCurrent(new AbortController().signal);
  }

  /** Ends the watches; what runs goes on. */
  async stop(): Promise<void> {
    await Promise.all(this.#caches().map((cache) => cache.stop()));
    await this.#options.client.close();
  }

  refusal(program: Pick<InstanceSpec, "image" | "command">): string | undefined {
    return programRefusal(program);
  }

  async applyBlock(spec: BlockSpec, signal: AbortSignal): Promise<ApplyOutcome> {
    const { blockId } = spec;
    return await this.#do({ kind: "apply", blockId, instanceId: undefined }, signal, async () => {
      return blockRefusal(spec) ?? (await this.#applier.block(spec, signal));
    });
  }

  async applyInstance(spec: InstanceSpec, signal: AbortSignal): Promise<ApplyOutcome> {
    const { blockId, instanceId } = spec;
    return await this.#do({ kind: "apply", blockId, instanceId }, signal, async () => {
      const refusal = instanceRefusal(spec, this.#options.gpuBinding);
      return refusal ?? (await this.#applier.instance(spec, signal));
    });
  }

  async removeInstance(id: InstanceKey, signal: AbortSignal): Promise<void> {
    const { blockId, instanceId } = id;
    await this.#do({ kind: "remove", blockId, instanceId }, signal, async () => {
      // What cannot be here is not here.
      if (blockIdRefusal(blockId) ?? instanceIdRefusal(id)) return;
      await this.#removal.instance({ blockId, instanceId }, signal);
    });
  }

  async removeBlock(blockId: string, signal: AbortSignal): Promise<void> {
    await this.#do({ kind: "remove", blockId, instanceId: undefined }, signal, async () => {
      if (blockIdRefusal(blockId) === undefined) await this.#removal.block(blockId, signal);
    });
  }

  /** From what the watches have told, when they are in step and the API server answers now. */
  async observe(signal: AbortSignal): Promise<Observation> {
    return await this.#told(signal, async () => {
      const { client, namespace, clusterId } = this.#options;
      const path = pathOf(RESOURCES.configMap, namespace);
      await client.look(path, selectorOf(clusterId), signal);
      await this.#untilCurrent(signal);
      const blockIds = [...this.#roots.items.values()].flatMap(
        ({ metadata }) => metadata?.labels?.[LABELS.block] ?? [],
      );
      const [deployments, pods] = [this.#deployments.items, this.#pods.items];
      const instances = observedInstances(deployments.values(), pods.values(), this.#made);
      return { blockIds: blockIds.sort(), instances };
    });
  }

  onChange(listener: () => void): () => void {
    let isDue = false;
    let isOn = true;
    const end = this.#changes.on(() => {
      if (isDue) return;
      isDue = true;
      setImmediate(() => {
        isDue = false;
        if (isOn) listener();
      });
    });
    return () => {
      isOn = false;
      end();
    };
  }

  #cache<T extends KubeObject>(
    resource: KubeResource,
    keep: (object: KubeObject) => T,
  ): ObjectCache<T> {
    const { client, namespace, clusterId, logger, rules = {} } = this.#options;
    const labelSelector = selectorOf(clusterId);
    const about = { client, resource, namespace, labelSelector, logger, rules };
    return new ObjectCache({ ...about, keep, changes: this.#changes });
  }

  #caches(): readonly ObjectCache<KubeObject>[] {
    return [this.#roots, this.#deployments, this.#pods];
  }

  async #untilCurrent(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#caches().map((cache) => cache.untilCurrent(signal)));
  }

  async #do<T>(job: Job, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return await this.#told(signal, () => this.#order.run(job, signal, work));
  }

  async #told<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    // What is observed would be the ground of decisions, so that it is refused too.
    const why = this.#options.whyInactive?.();
    if (why !== undefined) throw new BerthError("UNAVAILABLE", why);
    try {
      return await work();
    } catch (thrown) {
      if (signal.aborted) throw signal.reason;
      throw toRuntimeError(thrown);
    }
  }
}
