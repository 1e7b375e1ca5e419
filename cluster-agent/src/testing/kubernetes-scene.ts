import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { silentLogger } from "@berth/service-kit";
import { KubeConfig } from "@kubernetes/client-node";
import { applyManifests } from "../../../test/support/kubernetes/apply-manifests.ts";
import {
  type ServiceAccountAccess,
  serviceAccountAccess,
} from "../../../test/support/kubernetes/service-account.ts";
import {
  runCommand,
  type SimulatedNodes,
  startSimulatedNodes,
} from "../../../test/support/kubernetes/simulated-nodes.ts";
import {
  createNamespace,
  type Kubernetes,
  type KubernetesOptions,
  startKubernetes,
} from "../../../test/support/kubernetes/start-kubernetes.ts";
import type { RuntimeConfig } from "../compose/runtime-options.ts";
import { KubeClient } from "../runtime/kubernetes/kube-client.ts";
import {
  KubernetesRuntime,
  type KubernetesRuntimeOptions,
} from "../runtime/kubernetes/kubernetes-runtime.ts";
import type { BlockSpec, InstanceSpec, ObservedInstance } from "../runtime/runtime.ts";
import type { Cleanup } from "./agent.ts";
import { until } from "./fixtures.ts";
import { ECHO_COMMAND } from "./local-processes.ts";

const DEPLOY = path.resolve(import.meta.dirname, "../../../deploy/kubernetes");
const AGENT_NAMESPACE = "berth";
/** Nodes of a scene, by the value of their label `nodeID`. */
export const SCENE_NODES = ["node-1", "node-2", "node-a"];

/** The nodes of a scene. */
export interface SceneNodes {
  /** Values of their label `nodeID`; {@link SCENE_NODES} by default. */
  readonly names?: readonly string[];
  /** Containers are local processes, as by default; else pods are only marked as running. */
  readonly isRun?: boolean;
}

/** A real control plane of Kubernetes with simulated nodes of 8 GPUs, on which containers are local processes. */
export class KubernetesScene {
  readonly kubernetes: Kubernetes;
  readonly nodes: SimulatedNodes;
  readonly #open = new Set<KubernetesRuntime>();
  #namespaces = 0;

  private constructor(kubernetes: Kubernetes, nodes: SimulatedNodes) {
    this.kubernetes = kubernetes;
    this.nodes = nodes;
  }

  static async start(
    options: KubernetesOptions = {},
    { names = SCENE_NODES, isRun = true }: SceneNodes = {},
  ): Promise<KubernetesScene> {
    const kubernetes = await startKubernetes(options);
    const nodes = await startSimulatedNodes(kubernetes, {
      nodes: names.map((name) => ({ name, labels: { nodeID: name }, gpus: 8 })),
      ...(isRun ? { run: runCommand } : {}),
    });
    await createNamespace(kubernetes, AGENT_NAMESPACE);
    return new KubernetesScene(kubernetes, nodes);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#open].map((runtime) => runtime.stop()));
    await this.nodes.stop();
    await this.kubernetes.stop();
  }

  /** A namespace for blocks as deploy/kubernetes makes it, in which the agent has its rights. */
  async namespace(): Promise<string> {
    this.#namespaces += 1;
    const name = `blocks-${this.#namespaces}`;
    await createNamespace(this.kubernetes, name, {
      "pod-security.kubernetes.io/enforce": "restricted",
    });
    const text = readFileSync(path.join(DEPLOY, "rbac.yaml"), "utf8");
    const manifests = text.replaceAll("namespace: blocks", `namespace: ${name}`);
    await applyManifests(this.kubernetes.api, manifests);
    return name;
  }

  /** Gives the agent the right to see nodes, which it can do without. */
  async allowNodes(): Promise<void> {
    await applyManifests(
      this.kubernetes.api,
      readFileSync(path.join(DEPLOY, "nodes.yaml"), "utf8"),
    );
  }

  /** The agent's own account. */
  agentAccess(): Promise<ServiceAccountAccess> {
    return serviceAccountAccess(this.kubernetes, AGENT_NAMESPACE, "cluster-agent");
  }

  /** Settings of an agent that runs blocks in a namespace with the rights of its own account. */
  async settings(cleanup: Cleanup, namespace: string): Promise<RuntimeConfig> {
    const { kubeconfig } = await this.agentAccess();
    const file = path.join(await cleanup.directory(), "kubeconfig");
    writeFileSync(file, kubeconfig, { mode: 0o600 });
    return {
      ...{ runtime: "kubernetes", kubeconfig: file, kubernetesNamespace: namespace },
      ...{ kubernetesGpuBinding: "exclusive", kubernetesWorkloads: "" },
    };
  }

  /** The API with the rights of the agent's own account and no other. */
  async client(options: ClientOptions = {}): Promise<KubeClient> {
    const { kubeconfig } = await this.agentAccess();
    return clientOf(kubeconfig, options);
  }

  /** A started runtime; it is stopped with the scene if not before. */
  async open(
    namespace: string,
    more: Partial<KubernetesRuntimeOptions> = {},
  ): Promise<KubernetesRuntime> {
    const runtime = new KubernetesRuntime({
      ...{ client: more.client ?? (await this.client()), clusterId: "cl-1", namespace },
      ...{ gpuBinding: "exclusive", workloads: {}, logger: silentLogger, pollMs: 200 },
      ...more,
    });
    this.#open.add(runtime);
    await runtime.start();
    return runtime;
  }

  /** Ends a runtime as the end of its agent would. */
  async close(runtime: KubernetesRuntime): Promise<void> {
    this.#open.delete(runtime);
    await runtime.stop();
  }

  /** Objects of a namespace as an administrator sees them: `items("apis/apps/v1", namespace, "deployments")`. */
  async items(group: string, namespace: string, plural: string): Promise<readonly SceneObject[]> {
    const list = await this.kubernetes.api.get<{ readonly items: readonly SceneObject[] }>(
      `/${group}/namespaces/${namespace}/${plural}`,
    );
    return list.items;
  }

  /** Pods of an instance that are there and have not ended. */
  async living(
    namespace: string,
    { blockId, instanceId }: Pick<InstanceSpec, "blockId" | "instanceId">,
  ): Promise<number> {
    const pods = await this.items("api/v1", namespace, "pods");
    return pods.filter(({ metadata: { labels = {} }, status }) => {
      const isOver = status?.phase === "Failed" || status?.phase === "Succeeded";
      return labels.blockID === blockId && labels.instanceID === instanceId && !isOver;
    }).length;
  }
}

/** What tests read of an object. */
export interface SceneObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly replicas?: number; readonly nodeName?: string };
  readonly status?: { readonly phase?: string };
}

/** The API with the rights of a kubeconfig. */
export function clientOf(kubeconfig: string, { port, ...options }: ClientOptions = {}): KubeClient {
  const config = new KubeConfig();
  const text =
    port === undefined ? kubeconfig : kubeconfig.replace(/(127\.0\.0\.1):\d+/, `$1:${port}`);
  config.loadFromString(text);
  return new KubeClient(config, options);
}

/** How a client of a scene is made. */
export interface ClientOptions {
  /** Longest wait for an answer, ms. */
  readonly limitMs?: number;
  /** Port of a relay before the API server. */
  readonly port?: number;
}

/** What the containers of a scene run: the example of the repository. */
export const SCENE_PROGRAM = {
  image: "registry.test/berth/echo:1.0.0",
  command: ECHO_COMMAND,
  env: { GREETING: "hello" },
};

/** The block that {@link sceneInstance} hangs on. */
export const SCENE_BLOCK: BlockSpec = {
  blockId: "blk-a",
  ownership: { operationId: "op-1", fence: { storeId: "store-1", controllerTerm: "7" } },
};

/** An instance of block "blk-a" on node-1. */
export function sceneInstance(instanceId: string, more: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    ...{ blockId: "blk-a", instanceId, nodeId: "node-1", ...SCENE_PROGRAM },
    ...{ initDataJson: undefined, devices: [], cpuMillis: 100, memoryMiB: 64, storageMiB: 0 },
    ...{ allocationId: `alloc-${instanceId}`, ownership: SCENE_BLOCK.ownership },
    ...more,
  };
}

/** The instance once it is so. */
export async function sceneInstanceWhen(
  runtime: KubernetesRuntime,
  instanceId: string,
  isSo: (instance: ObservedInstance) => boolean,
): Promise<ObservedInstance> {
  let last: ObservedInstance | undefined;
  const condition = async (): Promise<boolean> => {
    const { instances } = await runtime.observe(new AbortController().signal);
    last = instances.find((instance) => instance.instanceId === instanceId);
    return last !== undefined && isSo(last);
  };
  await until(`${instanceId} as awaited, ${String(isSo)}`, condition, 30_000).catch((thrown) => {
    throw new Error(`${thrown.message}; it is ${JSON.stringify(last)}`);
  });
  if (last === undefined) throw new Error(`${instanceId} is not there`);
  return last;
}
