import { KubeApi, type KubeObject, type WatchEvent } from "../../support/kubernetes/kube-api.ts";
import type { Kubernetes } from "../../support/kubernetes/start-kubernetes.ts";

/** What the API server has of a block, by the names of its objects. */
export interface SeenBlock {
  readonly roots: ReadonlySet<string>;
  readonly deployments: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
  /** Deployments whose pod is ready. */
  readonly ready: ReadonlySet<string>;
}

type Kind = "roots" | "deployments" | "services";

interface Waiter {
  readonly isSo: (block: SeenBlock) => boolean;
  readonly resolve: (atMs: number) => void;
}

interface Deployment extends KubeObject {
  readonly status?: { readonly readyReplicas?: number };
}

const COLLECTIONS: Readonly<Record<Kind, (namespace: string) => string>> = {
  roots: (namespace) => `/api/v1/namespaces/${namespace}/configmaps`,
  deployments: (namespace) => `/apis/apps/v1/namespaces/${namespace}/deployments`,
  services: (namespace) => `/api/v1/namespaces/${namespace}/services`,
};
const LIMIT_MS = 120_000;

/** A watch of the blocks of a namespace that shares nothing with the agent's: neither its connection nor its client. */
export class BlockWatch {
  readonly #api: KubeApi;
  readonly #stop = new AbortController();
  readonly #blocks = new Map<string, Record<keyof SeenBlock, Set<string>>>();
  readonly #waiters = new Map<string, Set<Waiter>>();
  #broken: unknown;

  constructor(kubernetes: Kubernetes, namespace: string) {
    this.#api = new KubeApi(kubernetes.access);
    for (const kind of ["roots", "deployments", "services"] as const) {
      const onEvent = (event: WatchEvent<Deployment>) => this.#take(kind, event);
      const watching = this.#api.watch(COLLECTIONS[kind](namespace), {
        ...{ signal: this.#stop.signal, onEvent },
      });
      const end = (thrown: unknown) => {
        this.#broken = thrown ?? new Error(`the watch of ${kind} has ended`);
      };
      watching.then(end, end);
    }
  }

  /**
   * The time at which it was seen to be so, ms since 1970. To be called before what makes it so, else that time is now. Rejects
   * after two minutes.
   */
  when(blockId: string, isSo: (block: SeenBlock) => boolean): Promise<number> {
    const seen = new Promise<number>((resolve, reject) => {
      const waiters = this.#waiters.get(blockId) ?? new Set();
      this.#waiters.set(blockId, waiters);
      const waiter: Waiter = {
        isSo,
        resolve: (atMs) => {
          clearTimeout(timer);
          waiters.delete(waiter);
          if (waiters.size === 0) this.#waiters.delete(blockId);
          resolve(atMs);
        },
      };
      const timer = setTimeout(() => {
        const why = this.#broken === undefined ? "" : `: ${this.#broken}`;
        reject(new Error(`not within ${LIMIT_MS} ms: ${isSo} for block ${blockId}${why}`));
      }, LIMIT_MS).unref();
      waiters.add(waiter);
      this.#look(blockId);
    });
    // What was to make it so may fail first: then nobody waits for it.
    seen.catch(() => undefined);
    return seen;
  }

  stop(): void {
    this.#stop.abort();
    this.#api.close();
  }

  #take(kind: Kind, { type, object }: WatchEvent<Deployment>): void {
    const blockId = object.metadata.labels?.blockID;
    if (blockId === undefined) return;
    const block = this.#block(blockId);
    const { name } = object.metadata;
    const isThere = type !== "DELETED";
    set(block[kind], name, isThere);
    if (kind === "deployments") {
      set(block.ready, name, isThere && (object.status?.readyReplicas ?? 0) > 0);
    }
    this.#look(blockId);
  }

  #look(blockId: string): void {
    const atMs = wallMs();
    const block = this.#block(blockId);
    for (const waiter of [...(this.#waiters.get(blockId) ?? [])]) {
      if (waiter.isSo(block)) waiter.resolve(atMs);
    }
  }

  #block(blockId: string): Record<keyof SeenBlock, Set<string>> {
    const known = this.#blocks.get(blockId);
    if (known !== undefined) return known;
    const block = {
      roots: new Set<string>(),
      deployments: new Set<string>(),
      services: new Set<string>(),
      ready: new Set<string>(),
    };
    this.#blocks.set(blockId, block);
    return block;
  }
}

/** Whether a block has its root and the Deployment and Service of so many instances. */
export function isApplied(instances: number): (block: SeenBlock) => boolean {
  return ({ roots, deployments, services }) =>
    roots.size === 1 && deployments.size === instances && services.size === instances;
}

/** Whether so many instances are ready. */
export function isReady(instances: number): (block: SeenBlock) => boolean {
  return ({ ready }) => ready.size === instances;
}

/** Whether nothing is left of a block: its root is the last to go, behind the pods. */
export function isGone({ roots, deployments, services }: SeenBlock): boolean {
  return roots.size + deployments.size + services.size === 0;
}

/** Now, in ms since 1970, with fractions. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

function set(names: Set<string>, name: string, isThere: boolean): void {
  if (isThere) names.add(name);
  else names.delete(name);
}
