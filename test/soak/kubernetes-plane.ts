import { writeFileSync } from "node:fs";
import path from "node:path";
import {
  KubernetesScene,
  type SceneObject,
} from "../../cluster-agent/src/testing/kubernetes-scene.ts";
import type { SoakRuntime } from "./soak-runtime.ts";

const IMAGE = "registry.test/berth/idle:1.0.0";
/** Labels of what is of an instance, as docs/kubernetes.md has them. */
const [BLOCK, INSTANCE] = ["blockID", "instanceID"];
const GONE_LIMIT_MS = 60_000;
/**
 * Its controllers read anew what they lost with the API server after up to 60 s, each time (client-go's reflector: 800 ms doubled to
 * 30 s, and as much again by chance); two of them stand behind each other before there is a pod.
 */
const STILL_LIMIT_MS = 150_000;

/**
 * One real control plane of Kubernetes for many runs, each in a namespace of its own. Pods are only marked as running. What
 * one run does to the API server all runs of the moment have to bear.
 */
export class KubernetesPlane {
  readonly #scene: KubernetesScene;
  #isHarmed = false;

  private constructor(scene: KubernetesScene) {
    this.#scene = scene;
  }

  /** Starts it with nodes "node-0" and on. */
  static async start(nodes: number): Promise<KubernetesPlane> {
    const names = Array.from({ length: nodes }, (_, node) => `node-${node}`);
    return new KubernetesPlane(await KubernetesScene.start({}, { names, isRun: false }));
  }

  async stop(): Promise<void> {
    await this.#scene.stop();
  }

  /** A namespace in which an agent runs its blocks with the rights of deploy/kubernetes. */
  async open(dataDir: string): Promise<SoakRuntime> {
    const namespace = await this.#scene.namespace();
    const { kubeconfig } = await this.#scene.agentAccess();
    const file = path.join(path.dirname(dataDir), "kubeconfig");
    writeFileSync(file, kubeconfig, { mode: 0o600 });
    return {
      env: {
        ...{ BERTH_RUNTIME: "kubernetes", BERTH_KUBERNETES_NAMESPACE: namespace },
        BERTH_KUBECONFIG: file,
      },
      program: { containerImage: IMAGE },
      running: () => this.#running(namespace),
      ...{ stillLimitMs: STILL_LIMIT_MS, look: () => this.#look(namespace) },
      harm: (random) => this.#harm(namespace, random),
      buried: () => this.#dropLease(namespace),
      dispose: () => this.#delete(namespace),
    };
  }

  /** Instances that have a Deployment or a pod. */
  async #running(namespace: string): Promise<readonly string[]> {
    const objects = await Promise.all([
      this.#items("apis/apps/v1", namespace, "deployments"),
      this.#items("api/v1", namespace, "pods"),
    ]);
    const names = objects.flat().flatMap(({ metadata: { labels = {} } }) => {
      const { [BLOCK]: block, [INSTANCE]: instance } = labels;
      return block === undefined || instance === undefined ? [] : [`${block}/${instance}`];
    });
    return [...new Set(names)];
  }

  /** The Deployments, ReplicaSets and pods that are there. */
  async #look(namespace: string): Promise<readonly string[]> {
    const kinds = [
      ["apis/apps/v1", "deployments"],
      ["apis/apps/v1", "replicasets"],
      ["api/v1", "pods"],
    ] as const;
    const items = await Promise.all(
      kinds.map(async ([group, plural]) => {
        const all = await this.#items(group, namespace, plural);
        return all.map(({ metadata, status }) => {
          const { name, creationTimestamp, deletionTimestamp } = metadata;
          const times = { creationTimestamp, deletionTimestamp };
          return `${plural} ${name}: ${JSON.stringify({ ...times, status }).slice(0, 1_000)}`;
        });
      }),
    );
    return items.flat();
  }

  /** One fault: of the API server, of which there is one at a time, or of a pod or Deployment. */
  async #harm(namespace: string, random: () => number): Promise<string> {
    const choice = random();
    if (choice < 0.4) return await this.#harmPods(namespace, random);
    if (this.#isHarmed) return "nothing: the API server is harmed already";
    this.#isHarmed = true;
    try {
      const { kubernetes } = this.#scene;
      if (choice > 0.8) {
        await kubernetes.restart("apiserver");
        return "the API server is killed and started";
      }
      kubernetes.pause("apiserver");
      const forMs = 100 + Math.floor(random() * 2_000);
      await new Promise((resolve) => setTimeout(resolve, forMs));
      kubernetes.resume("apiserver");
      return `the API server is paused for ${forMs} ms`;
    } finally {
      this.#isHarmed = false;
    }
  }

  /** A pod that ends meanwhile is spared. */
  async #harmPods(namespace: string, random: () => number): Promise<string> {
    const pods = await this.#items("api/v1", namespace, "pods");
    const pod = pods[Math.floor(random() * pods.length)];
    if (pod === undefined) return "nothing: there is no pod";
    const { name } = pod.metadata;
    const isDeleted = random() < 0.5;
    const { kubernetes, nodes } = this.#scene;
    const url = `/api/v1/namespaces/${namespace}/pods/${name}`;
    try {
      if (isDeleted) await kubernetes.api.request("DELETE", url);
      else nodes.crash(name);
    } catch (thrown) {
      return `nothing: ${thrown}`;
    }
    return isDeleted ? "a pod is deleted" : "a pod crashes";
  }

  /** An agent that was killed gives its lease back only by its end: here the time that this takes is over at once. */
  async #dropLease(namespace: string): Promise<void> {
    const leases = await this.#items("apis/coordination.k8s.io/v1", namespace, "leases");
    for (const { metadata } of leases) {
      const url = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${metadata.name}`;
      await this.#again(() => this.#scene.kubernetes.api.request("DELETE", url));
    }
  }

  async #delete(namespace: string): Promise<void> {
    const { api } = this.#scene.kubernetes;
    await this.#again(() => api.request("DELETE", `/api/v1/namespaces/${namespace}`));
  }

  #items(group: string, namespace: string, plural: string): Promise<readonly SceneObject[]> {
    return this.#again(() => this.#scene.items(group, namespace, plural));
  }

  /** Another run may have harmed the API server. */
  async #again<T>(ask: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + GONE_LIMIT_MS;
    for (;;) {
      try {
        return await ask();
      } catch (thrown) {
        const { status } = thrown as { readonly status?: number };
        const isRefused = status !== undefined && status < 500 && status !== 429;
        if (isRefused || performance.now() > deadline) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }
}
