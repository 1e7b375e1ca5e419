import { sleep } from "@berth/service-kit";
import type { Changes } from "../process/changes.ts";
import type { KubeClient } from "./kube-client.ts";
import { isAbsent, isConflict } from "./kube-error.ts";
import { type KubeObject, type KubeResource, pathOf, RESOURCES } from "./kube-objects.ts";
import type { ObjectCache } from "./object-cache.ts";
import { type InstanceKey, LABELS, rootName, selectorOf, workloadName } from "./object-names.ts";
import { isEnding } from "./put-object.ts";

/** What is kept of the kinds that are watched. */
export interface Caches {
  readonly roots: ObjectCache<KubeObject>;
  readonly deployments: ObjectCache<KubeObject>;
  readonly pods: ObjectCache<KubeObject>;
  readonly changes: Changes;
}

/** What {@link ObjectRemoval} needs. */
export interface RemovalDeps {
  readonly client: KubeClient;
  readonly clusterId: string;
  readonly namespace: string;
  readonly caches: Caches;
  /** It is looked again after so long when nothing is told, ms. */
  readonly pollMs: number;
}

/** What is to go. */
interface Sweep {
  /** Kinds that own the rest, topmost first. */
  readonly owners: readonly KubeResource[];
  readonly selector: string;
  /** Whether the last of what is to go is gone, as far as is known. */
  readonly isGone: () => boolean;
  readonly isOne: (object: KubeObject) => boolean;
}

/** Between the end of an owner and the next look, ms; twice as long each time. */
const FIRST_WAIT_MS = 20;

/**
 * Ends objects of ours and waits until they are gone: owners first, which end what they own before themselves, then what
 * somebody else cut off from its owner. Nothing is ended by force: a pod is there until its node says that nothing of it runs.
 */
export class ObjectRemoval {
  readonly #deps: RemovalDeps;

  constructor(deps: RemovalDeps) {
    this.#deps = deps;
  }

  /** Resolves when there is nothing of an instance, pods too. */
  async instance(key: InstanceKey, signal: AbortSignal): Promise<void> {
    const { clusterId, caches } = this.#deps;
    const name = workloadName(key);
    await this.#sweep(
      {
        owners: [RESOURCES.deployment, RESOURCES.replicaSet],
        selector: selectorOf(clusterId, key),
        isGone: () => !caches.deployments.items.has(name),
        isOne: (object) =>
          labelOf(object, LABELS.block) === key.blockId &&
          labelOf(object, LABELS.instance) === key.instanceId,
      },
      signal,
    );
  }

  /** Resolves when there is nothing of a block, its root too. */
  async block(blockId: string, signal: AbortSignal): Promise<void> {
    const { clusterId, caches } = this.#deps;
    const name = rootName(blockId);
    await this.#sweep(
      {
        owners: [RESOURCES.configMap, RESOURCES.deployment, RESOURCES.replicaSet],
        selector: selectorOf(clusterId, { blockId }),
        isGone: () => !caches.roots.items.has(name),
        isOne: (object) => labelOf(object, LABELS.block) === blockId,
      },
      signal,
    );
  }

  async #sweep(sweep: Sweep, signal: AbortSignal): Promise<void> {
    const { caches, pollMs } = this.#deps;
    const { isGone, isOne } = sweep;
    let waitMs = FIRST_WAIT_MS;
    while (await this.#endSome(sweep, signal)) {
      const moment = AbortSignal.any([signal, AbortSignal.timeout(pollMs)]);
      await caches.changes.until(isGone, moment).catch(() => signal.throwIfAborted());
      // What is gone as far as is known was not gone yet, or has left something behind.
      if (isGone()) await sleep(waitMs, signal);
      signal.throwIfAborted();
      waitMs = Math.min(waitMs * 2, pollMs);
    }
    for (const cache of [caches.roots, caches.deployments, caches.pods]) {
      await cache.untilNone(isOne, signal);
    }
  }

  /** Asks for the end of what is topmost; gives whether there was anything. */
  async #endSome({ owners, selector }: Sweep, signal: AbortSignal): Promise<boolean> {
    for (const resource of owners) {
      if (await this.#endAll(resource, selector, signal)) return true;
    }
    const [hasPods, hasServices] = await Promise.all([
      this.#endAll(RESOURCES.pod, selector, signal),
      this.#endAll(RESOURCES.service, selector, signal),
    ]);
    return hasPods || hasServices;
  }

  async #endAll(resource: KubeResource, selector: string, signal: AbortSignal): Promise<boolean> {
    const { client, namespace } = this.#deps;
    const { items } = await client.list(pathOf(resource, namespace), selector, signal);
    await Promise.all(
      items
        .filter((object) => !isEnding(object))
        .map(async ({ metadata = {} }) => {
          try {
            const path = pathOf(resource, namespace, metadata.name);
            await client.remove(path, metadata.uid ?? "", signal);
          } catch (thrown) {
            // It is gone, or another one of that name is there by now, at which the next look is.
            if (!isAbsent(thrown) && !isConflict(thrown)) throw thrown;
          }
        }),
    );
    return items.length > 0;
  }
}

function labelOf({ metadata }: KubeObject, key: string): string | undefined {
  return metadata?.labels?.[key];
}
