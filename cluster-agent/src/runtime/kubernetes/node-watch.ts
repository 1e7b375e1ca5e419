import type { Logger, Part } from "@berth/service-kit";
import { Changes } from "../process/changes.ts";
import type { KubeClient } from "./kube-client.ts";
import { RESOURCES } from "./kube-objects.ts";
import { type CacheRules, ObjectCache } from "./object-cache.ts";
import { LABELS } from "./object-names.ts";
import { type ToldNode, toldNode, toldNodes } from "./told-node.ts";

/** What a {@link NodeWatch} is made of. */
export interface NodeWatchOptions {
  /** Is closed with it. */
  readonly client: KubeClient;
  /** Is told all nodes with our label after each change, and again and again while they are known. */
  readonly onNodes: (nodes: readonly ToldNode[]) => Promise<void>;
  readonly logger: Logger;
  readonly rules?: Partial<CacheRules>;
  /** Longest time between two tellings, ms; 1,000 by default. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 1_000;
const LOST =
  "the right to get, list and watch nodes is missing (deploy/kubernetes/nodes.yaml): only a node's agent makes it ready, and blocks may be placed on nodes that Kubernetes has cordoned or that are not Ready";

/** Tells of the Kubernetes nodes that carry the label `nodeID`. It needs a right of its own, and says once if that is missing. */
export class NodeWatch implements Part {
  readonly name = "Kubernetes nodes";
  readonly #options: NodeWatchOptions;
  readonly #changes = new Changes();
  readonly #cache: ObjectCache<ToldNode>;
  readonly #stop = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: NodeWatchOptions) {
    this.#options = options;
    const { client, logger, rules = {} } = options;
    this.#cache = new ObjectCache({
      ...{ client, resource: RESOURCES.node, namespace: undefined, labelSelector: LABELS.node },
      ...{ keep: toldNode, changes: this.#changes, logger, rules, lostWithout: LOST },
    });
  }

  /** Begins to look, and waits for nothing: an API server that does not answer keeps nobody. */
  async start(): Promise<void> {
    this.#cache.start();
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#loop, this.#cache.stop()]);
    await this.#options.client.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const { intervalMs = INTERVAL_MS } = this.#options;
    let isDue = false;
    const end = this.#changes.on(() => {
      isDue = true;
    });
    while (!signal.aborted) {
      isDue = false;
      if (this.#cache.isCurrent) await this.#tell();
      const limit = AbortSignal.any([signal, AbortSignal.timeout(intervalMs)]);
      await this.#changes.until(() => isDue, limit).catch(() => undefined);
    }
    end();
  }

  async #tell(): Promise<void> {
    try {
      await this.#options.onNodes(toldNodes(this.#cache.items.values()));
    } catch (err) {
      this.#options.logger.error("what Kubernetes tells of its nodes was not taken in", { err });
    }
  }
}
