import { CoreV1Api, KubeConfig } from "@kubernetes/client-node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { until } from "../support/fleet.ts";
import { applyManifests } from "../support/kubernetes/apply-manifests.ts";
import { hasKubernetes } from "../support/kubernetes/binaries.ts";
import { KubeRefusal, type WatchEvent } from "../support/kubernetes/kube-api.ts";
import type { Pod } from "../support/kubernetes/pod.ts";
import { createServiceAccount } from "../support/kubernetes/service-account.ts";
import { type SimulatedNodes, startSimulatedNodes } from "../support/kubernetes/simulated-nodes.ts";
import {
  createNamespace,
  type Kubernetes,
  startKubernetes,
} from "../support/kubernetes/start-kubernetes.ts";

interface Deployment {
  readonly status: { readonly availableReplicas?: number; readonly readyReplicas?: number };
}

function deployment(name: string, spec: { readonly gpus?: number; readonly replicas?: number }) {
  const { gpus = 0, replicas = 1 } = spec;
  return `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: work }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: echo
          resources: { limits: { nvidia.com/gpu: "${gpus}" } }
`;
}

function job(name: string) {
  return `
apiVersion: batch/v1
kind: Job
metadata: { name: ${name}, namespace: work }
spec:
  backoffLimit: 0
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      restartPolicy: Never
      containers: [{ name: main, image: echo }]
`;
}

describe.skipIf(!hasKubernetes())("a real Kubernetes control plane with simulated nodes", () => {
  let kubernetes: Kubernetes;
  let nodes: SimulatedNodes;

  beforeAll(async () => {
    kubernetes = await startKubernetes({ nodeGraceSeconds: 6, evictionSeconds: 1 });
    nodes = await startSimulatedNodes(kubernetes, {
      nodes: [
        { name: "gpu-a", labels: { nodeID: "a" }, gpus: 8 },
        { name: "gpu-b", labels: { nodeID: "b" }, gpus: 8 },
      ],
    });
    await createNamespace(kubernetes, "work");
    await createNamespace(kubernetes, "other");
  });

  afterAll(async () => {
    await nodes?.stop();
    await kubernetes?.stop();
  });

  const podsOf = async (app: string): Promise<readonly Pod[]> => {
    const path = `/api/v1/namespaces/work/pods?labelSelector=app%3D${app}`;
    return (await kubernetes.api.get<{ items: readonly Pod[] }>(path)).items;
  };

  const untilAvailable = (name: string, replicas: number) =>
    until(
      async () => {
        const path = `/apis/apps/v1/namespaces/work/deployments/${name}`;
        const { status } = await kubernetes.api.get<Deployment>(path);
        return (status.availableReplicas ?? 0) === replicas;
      },
      {
        limitMs: 30_000,
        what: () => `${replicas} available of ${name}:\n${kubernetes.output("controllers")}`,
      },
    );

  it("schedules by nvidia.com/gpu what fits, says why the rest does not, and makes it available", async () => {
    await applyManifests(kubernetes.api, deployment("gpus", { gpus: 3, replicas: 5 }));
    await untilAvailable("gpus", 4);
    const pods = await podsOf("gpus");
    const bound = pods.filter(({ spec }) => spec.nodeName !== undefined);
    expect(bound.map(({ spec }) => spec.nodeName).sort()).toEqual([
      "gpu-a",
      "gpu-a",
      "gpu-b",
      "gpu-b",
    ]);
    const waiting = pods.find(({ spec }) => spec.nodeName === undefined);
    expect(waiting?.status?.conditions?.[0]?.message).toContain("Insufficient nvidia.com/gpu");
  });

  it("lets deleted pods go, and their GPUs with them", async () => {
    await kubernetes.api.request("DELETE", "/apis/apps/v1/namespaces/work/deployments/gpus");
    await until(async () => (await podsOf("gpus")).length === 0, { what: () => "no pods" });
    await applyManifests(kubernetes.api, deployment("again", { gpus: 8, replicas: 2 }));
    await untilAvailable("again", 2);
    await kubernetes.api.request("DELETE", "/apis/apps/v1/namespaces/work/deployments/again");
  });

  it("shows pods that crash, hang, cannot be pulled or never become ready", async () => {
    const trouble: Readonly<Record<string, object>> = {
      crashing: { exits: { code: 3, afterMs: 50 }, backoffMs: 100 },
      unpulled: { imagePullError: true },
      unready: { neverReady: true },
      hanging: { hangsTerminating: true },
    };
    nodes.behave(({ metadata }) => trouble[metadata.labels?.app ?? ""] ?? {});
    for (const name of Object.keys(trouble)) {
      await applyManifests(kubernetes.api, deployment(name, {}));
    }
    await untilAvailable("hanging", 1);
    const shown = async (app: string) => JSON.stringify((await podsOf(app))[0]?.status ?? {});
    const untilShown = (app: string, ...texts: readonly RegExp[]) =>
      until(
        async () => {
          const status = await shown(app);
          return texts.every((text) => text.test(status));
        },
        { what: () => `${app} to show ${texts.join(" and ")}` },
      );
    await untilShown("crashing", /"restartCount":[2-9]/, /"reason":"CrashLoopBackOff"/);
    await untilShown("unpulled", /"phase":"Pending"/, /"reason":"ImagePullBackOff"/);
    await untilShown("unready", /"phase":"Running"/, /"ready":false/);
    for (const name of Object.keys(trouble)) {
      await kubernetes.api.request("DELETE", `/apis/apps/v1/namespaces/work/deployments/${name}`);
    }
    await until(async () => (await podsOf("crashing")).length === 0, { what: () => "no pods" });
    await until(
      async () => (await podsOf("hanging"))[0]?.metadata.deletionTimestamp !== undefined,
      {
        what: () => "a pod that is Terminating",
      },
    );
    nodes.behave(() => ({}));
    await until(async () => (await podsOf("hanging")).length === 0, { what: () => "no pods" });
  });

  it("moves the pods of a node that fell silent, and takes the node back", async () => {
    await applyManifests(kubernetes.api, deployment("moved", { gpus: 8, replicas: 1 }));
    await untilAvailable("moved", 1);
    const [first] = await podsOf("moved");
    const nodeName = first?.spec.nodeName ?? "";
    await nodes.setSilent(nodeName, true);
    const onOther = async () =>
      (await podsOf("moved")).some(
        ({ spec, status }) => spec.nodeName !== nodeName && status?.phase === "Running",
      );
    await until(onOther, { limitMs: 40_000, what: () => "the pod on the other node" });
    // The old one cannot be told: it stays until its node is back.
    expect((await podsOf("moved")).length).toBe(2);
    await nodes.setSilent(nodeName, false);
    await until(async () => (await podsOf("moved")).length === 1, { what: () => "one pod" });
    await kubernetes.api.request("DELETE", "/apis/apps/v1/namespaces/work/deployments/moved");
  });

  it("allows a service account what its role says, in its namespace only", async () => {
    const account = await createServiceAccount(kubernetes, {
      namespace: "work",
      name: "reader",
      rules: [{ namespace: "work", apiGroups: [""], resources: ["pods"], verbs: ["get", "list"] }],
    });
    await account.api.get("/api/v1/namespaces/work/pods");
    for (const path of ["/api/v1/namespaces/other/pods", "/api/v1/nodes"]) {
      await expect(account.api.get(path)).rejects.toMatchObject({ status: 403 });
    }
    const created = account.api.request("POST", "/api/v1/namespaces/work/pods", {
      body: { metadata: { name: "x" }, spec: { containers: [{ name: "c", image: "i" }] } },
    });
    await expect(created).rejects.toThrow(/reader" cannot create resource "pods"/);
    account.api.close();
  });

  it("runs a job to its end, fails a pod that a node refuses, and empties a node that is not ready", async () => {
    const fates: Readonly<Record<string, object>> = {
      done: { exits: { code: 0, afterMs: 50 } },
      refused: { rejected: "OutOfcpu" },
    };
    nodes.behave(({ metadata }) => fates[metadata.labels?.app ?? ""] ?? {});
    for (const name of Object.keys(fates)) await applyManifests(kubernetes.api, job(name));
    await applyManifests(kubernetes.api, deployment("driven", { gpus: 8 }));
    await untilAvailable("driven", 1);
    const phase = async (app: string) => (await podsOf(app))[0]?.status?.phase;
    for (const [app, expected] of Object.entries({ done: "Succeeded", refused: "Failed" })) {
      await until(async () => (await phase(app)) === expected, {
        what: () => `${app} ${expected}`,
      });
    }
    const nodeName = (await podsOf("driven"))[0]?.spec.nodeName ?? "";
    await nodes.setReady(nodeName, false);
    const isElsewhere = async () => {
      const pods = await podsOf("driven");
      return pods.length === 1 && pods[0]?.spec.nodeName !== nodeName;
    };
    await until(isElsewhere, { limitMs: 30_000, what: () => "the pod on the other node" });
    await nodes.setReady(nodeName, true);
    nodes.behave(() => ({}));
    await kubernetes.api.request("DELETE", "/apis/apps/v1/namespaces/work/deployments/driven");
  });

  it("loses a node, and goes on when etcd and the controllers are killed", async () => {
    await nodes.add({ name: "brief", labels: { nodeID: "brief" } });
    await nodes.delete("brief");
    await expect(kubernetes.api.get("/api/v1/nodes/brief")).rejects.toMatchObject({ status: 404 });
    for (const name of ["etcd", "scheduler", "controllers"] as const) {
      await kubernetes.restart(name);
    }
    await applyManifests(kubernetes.api, deployment("later", { replicas: 2 }));
    await untilAvailable("later", 2);
    await kubernetes.api.request("DELETE", "/apis/apps/v1/namespaces/work/deployments/later");
  });

  it("is reached by the client library with its kubeconfig", async () => {
    const config = new KubeConfig();
    config.loadFromFile(kubernetes.kubeconfigPath);
    const { items } = await config.makeApiClient(CoreV1Api).listNode();
    expect(items.map(({ metadata }) => metadata?.labels?.nodeID).sort()).toEqual(["a", "b"]);
  });

  it("refuses what the Pod Security level of a namespace forbids", async () => {
    await createNamespace(kubernetes, "strict", {
      "pod-security.kubernetes.io/enforce": "restricted",
    });
    const created = kubernetes.api.request("POST", "/api/v1/namespaces/strict/pods", {
      body: {
        metadata: { name: "rooted" },
        spec: {
          containers: [{ name: "c", image: "i" }],
          volumes: [{ name: "h", hostPath: { path: "/" } }],
        },
      },
    });
    await expect(created).rejects.toThrow(/violates PodSecurity "restricted/);
  });

  it("keeps its objects when the API server is killed, and answers 410 to who asks for lost history", async () => {
    const path = "/api/v1/namespaces/work/configmaps";
    const kept = await kubernetes.api.request("POST", path, {
      body: { metadata: { name: "kept" } },
    });
    await kubernetes.kill9("apiserver");
    await expect(kubernetes.api.get(path)).rejects.toThrow(/ECONNREFUSED/);
    await kubernetes.restart("apiserver");
    expect(await kubernetes.api.get(`${path}/kept`)).toMatchObject({ metadata: kept.metadata });
    await kubernetes.forgetHistory();
    expect(await watchFirst(kubernetes, `${path}?resourceVersion=1`)).toMatchObject({
      type: "ERROR",
      object: { code: 410 },
    });
  });

  it("does not answer while the API server is paused", async () => {
    kubernetes.pause("apiserver");
    const asked = kubernetes.api.request("GET", "/api/v1/namespaces/work", { limitMs: 500 });
    await expect(asked).rejects.toThrow();
    kubernetes.resume("apiserver");
    await kubernetes.api.get("/api/v1/namespaces/work");
  });
});

async function watchFirst(kubernetes: Kubernetes, path: string): Promise<unknown> {
  const signal = AbortSignal.timeout(10_000);
  let first: WatchEvent<object> | undefined;
  try {
    const onEvent = (event: WatchEvent<object>) => {
      first ??= event;
    };
    await kubernetes.api.watch<object>(path, { signal, onEvent });
  } catch (thrown) {
    if (!(thrown instanceof KubeRefusal)) throw thrown;
    return { type: "ERROR", object: { code: thrown.status } };
  }
  return first;
}
