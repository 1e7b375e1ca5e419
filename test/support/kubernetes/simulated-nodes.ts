import path from "node:path";
import { containerEnv, expanded } from "./container-env.ts";
import { KubeApi, KubeRefusal, type WatchEvent } from "./kube-api.ts";
import type { ContainerSpec, Pod, PodBehaviour } from "./pod.ts";
import { type ContainerCommand, PodProcesses, type StartedContainer } from "./pod-processes.ts";
import { type NodeSpec, SimulatedNode } from "./simulated-node.ts";
import { type PodHost, SimulatedPod } from "./simulated-pod.ts";
import type { Kubernetes } from "./start-kubernetes.ts";

const ROOT = path.resolve(import.meta.dirname, "../../..");
/** Of a real kubelet. */
const LEASE_MS = 10_000;
/** Renewals within the time after which a node is unknown. */
const RENEWALS = 4;
const RETRY_MS = 300;
/** Of the last part of an address; the next pod has the first one's again. */
const MAX_ADDRESSES = 254;
const CONNECTIONS = 32;

/** What runs in a container's place: gives its command, or undefined when nothing really runs. */
export type RunContainer = (
  container: ContainerSpec,
  given: {
    readonly pod: Pod;
    readonly podIP: string;
    readonly env: Readonly<Record<string, string>>;
  },
) => ContainerCommand | undefined;

/** How {@link startSimulatedNodes} starts nodes. */
export interface SimulatedNodesOptions {
  readonly nodes: readonly NodeSpec[];
  /** What becomes of each pod; asked again at every step of its life. All goes well by default. */
  readonly behaviour?: (pod: Pod) => PodBehaviour;
  /** Runs local processes in place of containers: {@link runCommand}, or one's own. */
  readonly run?: RunContainer;
}

/**
 * Nodes with kubelets of a real control plane: they take the pods that the scheduler binds to them through
 * a pod's life, report it, and let the pods go when they are deleted.
 */
export interface SimulatedNodes {
  /** One more node. */
  add(spec: NodeSpec): Promise<void>;
  /** Changes what becomes of pods, of those that are there too. */
  behave(behaviour: (pod: Pod) => PodBehaviour): void;
  /** Ends a pod's containers once; they start again as its restart policy has it. */
  crash(podName: string, exitCode?: number): void;
  /** A node reports Ready, or not. */
  setReady(nodeName: string, isReady: boolean): Promise<void>;
  /** Cuts a node off (true) or brings it back: no lease, no report; what runs there goes on. */
  setSilent(nodeName: string, isSilent: boolean): Promise<void>;
  /** Deletes a Node object; its processes are killed. */
  delete(nodeName: string): Promise<void>;
  /** Pods that the nodes have, as the API server has them last. */
  pods(): readonly Pod[];
  /** What a pod's real processes printed last. */
  output(podName: string): string;
  /** Ends nodes and processes; the objects stay in the API server. */
  stop(): Promise<void>;
}

/** Registers nodes and plays their kubelets until they are stopped. */
export async function startSimulatedNodes(
  kubernetes: Kubernetes,
  options: SimulatedNodesOptions,
): Promise<SimulatedNodes> {
  const nodes = new Nodes(kubernetes, options);
  await Promise.all(options.nodes.map((spec) => nodes.add(spec)));
  nodes.watchPods();
  return nodes;
}

/** Runs a container's own command on this machine, with BERTH_LISTEN_HOST set to the pod's address. */
export const runCommand: RunContainer = (container, { podIP, env }) => {
  const [file, ...args] = [...(container.command ?? []), ...(container.args ?? [])];
  if (file === undefined) return;
  return {
    file,
    args: args.map((argument) => expanded(argument, env)),
    cwd: ROOT,
    env: { PATH: process.env.PATH ?? "", ...env, BERTH_LISTEN_HOST: podIP },
  };
};

class Nodes implements SimulatedNodes {
  readonly #api: KubeApi;
  readonly #options: SimulatedNodesOptions;
  readonly #leaseMs: number;
  readonly #apiPort: number;
  readonly #nodes = new Map<string, SimulatedNode>();
  readonly #pods = new Map<string, SimulatedPod>();
  readonly #stopped = new AbortController();
  #behaviour: (pod: Pod) => PodBehaviour;
  #watching: Promise<void> = Promise.resolve();
  #addresses = 0;

  constructor(kubernetes: Kubernetes, options: SimulatedNodesOptions) {
    this.#api = new KubeApi(kubernetes.access, CONNECTIONS);
    this.#apiPort = Number(new URL(kubernetes.url).port);
    this.#leaseMs = Math.min(LEASE_MS, (kubernetes.nodeGraceSeconds * 1_000) / RENEWALS);
    this.#options = options;
    this.#behaviour = options.behaviour ?? (() => ({}));
  }

  async add(spec: NodeSpec): Promise<void> {
    const node = new SimulatedNode(spec, this.#api, this.#leaseMs);
    this.#nodes.set(spec.name, node);
    await node.start();
  }

  behave(behaviour: (pod: Pod) => PodBehaviour): void {
    this.#behaviour = behaviour;
    for (const pod of this.#pods.values()) pod.poke();
  }

  crash(podName: string, exitCode = 1): void {
    this.#podNamed(podName).crash(exitCode);
  }

  async setReady(nodeName: string, isReady: boolean): Promise<void> {
    await this.#node(nodeName).setReady(isReady);
    if (isReady) this.#reportAgain(nodeName);
  }

  async setSilent(nodeName: string, isSilent: boolean): Promise<void> {
    await this.#node(nodeName).setSilent(isSilent);
    if (!isSilent) this.#reportAgain(nodeName);
  }

  async delete(nodeName: string): Promise<void> {
    await this.#node(nodeName).delete();
    this.#nodes.delete(nodeName);
    const lost = [...this.#pods].filter(([, { pod }]) => pod.spec.nodeName === nodeName);
    await Promise.all(lost.map(([uid]) => this.#forget(uid)));
  }

  pods(): readonly Pod[] {
    return [...this.#pods.values()].map(({ pod }) => pod);
  }

  output(podName: string): string {
    return this.#podNamed(podName).output;
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const node of this.#nodes.values()) node.stop();
    await this.#watching;
    await Promise.all([...this.#pods.keys()].map((uid) => this.#forget(uid)));
    this.#api.close();
  }

  /** Follows all pods that are bound to a node until it is stopped. */
  watchPods(): void {
    this.#watching = this.#follow();
  }

  async #follow(): Promise<void> {
    let version: string | undefined;
    while (!this.#stopped.signal.aborted) {
      try {
        version ??= await this.#list();
        const seen = (event: WatchEvent<Pod>) => {
          version = this.#take(event);
        };
        await this.#watch(version, seen);
      } catch (thrown) {
        if (isExpired(thrown)) version = undefined;
        await this.#pause();
      }
    }
  }

  async #pause(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }

  async #list(): Promise<string> {
    const list = await this.#api.get<{
      readonly metadata: { readonly resourceVersion: string };
      readonly items: readonly Pod[];
    }>("/api/v1/pods?fieldSelector=spec.nodeName!%3D");
    const there = new Set(list.items.map(({ metadata }) => metadata.uid));
    for (const uid of this.#pods.keys()) if (!there.has(uid)) void this.#forget(uid);
    for (const pod of list.items) this.#seen(pod);
    return list.metadata.resourceVersion;
  }

  async #watch(version: string, onEvent: (event: WatchEvent<Pod>) => void): Promise<void> {
    const query = `fieldSelector=spec.nodeName!%3D&resourceVersion=${version}&timeoutSeconds=240`;
    const { signal } = this.#stopped;
    await this.#api.watch<Pod>(`/api/v1/pods?${query}`, { signal, onEvent });
  }

  /** Takes an event; gives the version to go on from, undefined when the list must be read again. */
  #take({ type, object }: WatchEvent<Pod>): string | undefined {
    if (type === "ERROR") return;
    if (type === "DELETED") void this.#forget(object.metadata.uid ?? "");
    else if (type !== "BOOKMARK") this.#seen(object);
    return object.metadata.resourceVersion;
  }

  #seen(pod: Pod): void {
    const { uid = "" } = pod.metadata;
    const known = this.#pods.get(uid);
    if (known !== undefined) known.seen(pod);
    else if (this.#nodes.has(pod.spec.nodeName ?? "")) {
      this.#pods.set(uid, new SimulatedPod(pod, this.#hostOf(pod)));
    }
  }

  async #forget(uid: string): Promise<void> {
    const pod = this.#pods.get(uid);
    this.#pods.delete(uid);
    await pod?.forget();
  }

  #hostOf({ spec }: Pod): PodHost {
    const node = this.#node(spec.nodeName ?? "");
    return {
      api: this.#api,
      isSilent: () => node.isSilent,
      behaviourOf: (pod) => this.#behaviour(pod),
      newAddress: () => this.#newAddress(),
      startProcesses: (pod, given) => this.#startProcesses(pod, given),
    };
  }

  /**
   * Where processes run, each pod has an address of the loopback, so that all may listen on the same port;
   * the port of the API server tells those of several control planes on one machine apart.
   */
  #newAddress(): string {
    this.#addresses += 1;
    const count = this.#addresses;
    if (this.#options.run === undefined) return `10.244.${(count >> 8) & 255}.${count & 255}`;
    return `127.${this.#apiPort >> 8}.${this.#apiPort & 255}.${1 + (count % MAX_ADDRESSES)}`;
  }

  async #startProcesses(
    pod: Pod,
    given: { readonly podIP: string; readonly onChange: () => void },
  ): Promise<PodProcesses | undefined> {
    const { run } = this.#options;
    if (run === undefined) return;
    const { podIP } = given;
    const started: StartedContainer[] = [];
    for (const container of pod.spec.containers) {
      const env = await containerEnv(container, { api: this.#api, pod, podIP });
      const command = run(container, { pod, podIP, env });
      if (command !== undefined) started.push({ container, command });
    }
    return started.length === 0 ? undefined : new PodProcesses(started, given);
  }

  #reportAgain(nodeName: string): void {
    for (const pod of this.#pods.values()) {
      if (pod.pod.spec.nodeName === nodeName) pod.reportAgain();
    }
  }

  #node(name: string): SimulatedNode {
    const node = this.#nodes.get(name);
    if (node === undefined) throw new Error(`no simulated node ${name}`);
    return node;
  }

  #podNamed(name: string): SimulatedPod {
    const found = [...this.#pods.values()].find(({ pod }) => pod.metadata.name === name);
    if (found === undefined) throw new Error(`no pod ${name} on a simulated node`);
    return found;
  }
}

/** Whether the history that a watch asked for has gone. */
function isExpired(thrown: unknown): boolean {
  return thrown instanceof KubeRefusal && thrown.status === 410;
}
