import { readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { applyManifests } from "../../../../test/support/kubernetes/apply-manifests.ts";
import { hasKubernetes } from "../../../../test/support/kubernetes/binaries.ts";
import { createServiceAccount } from "../../../../test/support/kubernetes/service-account.ts";
import { until } from "../../testing/fixtures.ts";
import {
  clientOf,
  KubernetesScene,
  SCENE_BLOCK,
  sceneInstance,
  sceneInstanceWhen,
} from "../../testing/kubernetes-scene.ts";
import type { KubernetesRuntime } from "./kubernetes-runtime.ts";

const DEPLOY = path.resolve(import.meta.dirname, "../../../../deploy/kubernetes");
const never = new AbortController().signal;
const APPLIED = { kind: "applied" };
const APPS = "apis/apps/v1";
const GPU = { slot: 0, memoryMiB: 81_920 };

describe.skipIf(!hasKubernetes())("the objects of blocks on a real Kubernetes API", () => {
  let scene: KubernetesScene;
  let namespace: string;
  let runtime: KubernetesRuntime;
  beforeAll(async () => {
    scene = await KubernetesScene.start();
  });
  afterAll(async () => {
    await scene.stop();
  });
  beforeEach(async () => {
    namespace = await scene.namespace();
    runtime = await scene.open(namespace);
  });
  afterEach(async () => {
    scene.nodes.behave(() => ({}));
    await scene.close(runtime);
  });

  const request = (method: string, path: string, body?: object, contentType?: string) =>
    scene.kubernetes.api.request(method, path, {
      ...(body === undefined ? {} : { body }),
      ...(contentType === undefined ? {} : { contentType }),
    });
  const item = async (group: string, plural: string, name: string) =>
    (await scene.items(group, namespace, plural)).find(({ metadata }) => metadata.name === name);

  it.each([
    [
      "api/v1",
      "configmaps",
      { apiVersion: "v1", kind: "ConfigMap", data: { whose: "theirs" } },
      "berth-block-blk-a",
    ],
    [
      APPS,
      "deployments",
      {
        apiVersion: "apps/v1",
        kind: "Deployment",
        spec: {
          replicas: 0,
          selector: { matchLabels: { app: "theirs" } },
          template: {
            metadata: { labels: { app: "theirs" } },
            spec: { containers: [{ name: "one", image: "theirs:1" }] },
          },
        },
      },
      "blk-a-in-a",
    ],
    [
      "api/v1",
      "services",
      { apiVersion: "v1", kind: "Service", spec: { ports: [{ port: 80 }] } },
      "blk-a-in-a-svc",
    ],
  ])(
    "leaves one of somebody else's in %s/%s as it is, refuses, and keeps nothing",
    async (group, plural, body, name) => {
      const path = `/${group}/namespaces/${namespace}/${plural}`;
      await request("POST", path, { ...body, metadata: { name } });
      const before = await item(group, plural, name);
      const root = await runtime.applyBlock(SCENE_BLOCK, never);
      const outcome =
        root.kind === "applied" ? await runtime.applyInstance(sceneInstance("in-a"), never) : root;
      expect(outcome).toMatchObject({ kind: "refused", reason: "CONFLICT" });
      expect(outcome).toHaveProperty("message", expect.stringContaining(name));
      expect((await runtime.observe(never)).instances).toEqual([]);
      await runtime.removeBlock("blk-a", never);
      const { metadata, spec, data } = (await item(group, plural, name)) ?? {};
      expect({ uid: metadata?.uid, labels: metadata?.labels, spec, data }).toEqual({
        uid: before?.metadata.uid,
        labels: before?.metadata.labels,
        spec: before?.spec,
        data: before?.data,
      });
      expect(JSON.stringify(metadata)).not.toMatch(/berth-cluster-agent|berth\.dev/);
    },
  );

  it("takes back what others changed of what it says, and leaves the rest to them", async () => {
    await runtime.applyBlock(SCENE_BLOCK, never);
    await runtime.applyInstance(sceneInstance("in-a"), never);
    const path = `/${APPS}/namespaces/${namespace}/deployments/blk-a-in-a`;
    const change = { metadata: { labels: { team: "red" } }, spec: { replicas: 0 } };
    await request("PATCH", path, change, "application/merge-patch+json");
    expect(await runtime.applyInstance(sceneInstance("in-a"), never)).toEqual(APPLIED);
    const after = await item(APPS, "deployments", "blk-a-in-a");
    expect(after?.spec?.replicas).toBe(1);
    expect(after?.metadata.labels?.team).toBe("red");
  });

  it("gives objects the names and labels of the existing deployment", async () => {
    await runtime.applyBlock(SCENE_BLOCK, never);
    await runtime.applyInstance(sceneInstance("in-a"), never);
    const expected = { blockID: "blk-a", instanceID: "in-a" };
    const deployment = await item(APPS, "deployments", "blk-a-in-a");
    expect(deployment?.metadata.labels).toMatchObject(expected);
    expect((await item("api/v1", "services", "blk-a-in-a-svc"))?.metadata.labels).toMatchObject(
      expected,
    );
    await sceneInstanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    const [pod] = await scene.items("api/v1", namespace, "pods");
    expect(pod?.metadata.labels).toMatchObject({ ...expected, app: "blk-a-in-a" });
    expect(pod?.spec?.nodeName).toBe("node-1");
  });

  it("does not take a pod for gone that is stuck in Terminating, and never forces it", async () => {
    await runtime.applyBlock(SCENE_BLOCK, never);
    const spec = sceneInstance("in-a", { devices: [{ uuid: "GPU-1", ...GPU }] });
    await runtime.applyInstance(spec, never);
    await sceneInstanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    scene.nodes.behave(() => ({ hangsTerminating: true }));
    const patience = new AbortController();
    const removal = runtime.removeInstance(spec, patience.signal);
    const stuck = await sceneInstanceWhen(runtime, "in-a", ({ phase }) => phase === "terminating");
    expect(stuck.deviceUuids).toEqual(["GPU-1"]);
    patience.abort(new Error("enough"));
    await expect(removal).rejects.toThrow("enough");
    expect(await scene.living(namespace, spec)).toBe(1);
    scene.nodes.behave(() => ({}));
    await runtime.removeInstance(spec, never);
    expect(await scene.living(namespace, spec)).toBe(0);
    expect((await runtime.observe(never)).instances).toEqual([]);
  });

  it("sees pods that were cut off from their Deployment, and ends them", async () => {
    await runtime.applyBlock(SCENE_BLOCK, never);
    const spec = sceneInstance("in-a", { devices: [{ uuid: "GPU-1", ...GPU }] });
    await runtime.applyInstance(spec, never);
    await sceneInstanceWhen(runtime, "in-a", ({ isReady }) => isReady);
    await request("DELETE", `/${APPS}/namespaces/${namespace}/deployments/blk-a-in-a`, {
      ...{ apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Orphan" },
    });
    const cutOff = await sceneInstanceWhen(runtime, "in-a", ({ phase }) => phase === "terminating");
    expect(cutOff).toMatchObject({
      deviceUuids: ["GPU-1"],
      allocationId: "alloc-in-a",
      isReady: false,
    });
    await runtime.removeInstance(spec, never);
    expect(await scene.items(APPS, namespace, "replicasets")).toEqual([]);
    expect(await scene.items("api/v1", namespace, "pods")).toEqual([]);
    expect((await runtime.observe(never)).instances).toEqual([]);
  });

  it("refuses to say what runs when an object does not say what it holds", async () => {
    await runtime.applyBlock(SCENE_BLOCK, never);
    await runtime.applyInstance(sceneInstance("in-a"), never);
    const annotations = { "berth.dev/cpu-millis": "many" };
    await request(
      "PATCH",
      `/${APPS}/namespaces/${namespace}/deployments/blk-a-in-a`,
      { metadata: { annotations } },
      "application/merge-patch+json",
    );
    await until("the damage to be seen", async () => {
      const thrown = await runtime.observe(never).catch((error: Error) => error);
      return thrown instanceof Error && /blk-a-in-a .*berth\.dev\/cpu-millis/.test(thrown.message);
    });
    expect(await runtime.applyInstance(sceneInstance("in-a"), never)).toEqual(APPLIED);
    expect((await runtime.observe(never)).instances).toHaveLength(1);
  });

  it("comes to the same end wherever its agent was killed", async () => {
    for (let lastWrite = 0; lastWrite < 4; lastWrite += 1) {
      const client = await scene.client();
      let writes = 0;
      const create = client.create.bind(client);
      client.create = async (path, body, signal) => {
        writes += 1;
        if (writes > lastWrite) throw new Error("the agent is killed");
        return await create(path, body, signal);
      };
      const blockId = `blk-${lastWrite}`;
      const spec = sceneInstance("in-a", { blockId });
      const killed = await scene.open(namespace, { client });
      const work = async () => {
        await killed.applyBlock({ ...SCENE_BLOCK, blockId }, never);
        await killed.applyInstance(spec, never);
      };
      await work().catch(() => undefined);
      await scene.close(killed);
      const block = await runtime.applyBlock({ ...SCENE_BLOCK, blockId }, never);
      expect(block).toEqual(APPLIED);
      expect(await runtime.applyInstance(spec, never)).toEqual(APPLIED);
      await until("a pod runs", async () => (await scene.living(namespace, spec)) === 1);
      expect(await item("api/v1", "services", `${blockId}-in-a-svc`)).toBeDefined();
      await runtime.removeBlock(blockId, never);
    }
    expect(await scene.items(APPS, namespace, "deployments")).toEqual([]);
    expect(await scene.items("api/v1", namespace, "services")).toEqual([]);
  }, 120_000);

  it("names the right that it misses", async () => {
    const access = await createServiceAccount(scene.kubernetes, {
      ...{ namespace, name: "poor" },
      rules: [
        {
          namespace,
          apiGroups: [""],
          resources: ["configmaps"],
          verbs: ["get", "list", "watch", "create"],
        },
        { namespace, apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"] },
        { namespace, apiGroups: ["apps"], resources: ["deployments"], verbs: ["list", "watch"] },
      ],
    });
    const poor = await scene.open(namespace, { client: clientOf(access.kubeconfig) });
    expect(await poor.applyBlock(SCENE_BLOCK, never)).toEqual(APPLIED);
    const outcome = await poor.applyInstance(sceneInstance("in-a"), never);
    expect(outcome).toMatchObject({ kind: "refused", reason: "PRECONDITION_FAILED" });
    expect(outcome).toHaveProperty(
      "message",
      expect.stringMatching(/cannot create resource "deployments"/),
    );
    await expect(poor.removeBlock("blk-a", never)).rejects.toThrow(
      /cannot delete resource "configmaps"/,
    );
  });

  it("says why an instance does not run", async () => {
    await runtime.applyBlock(SCENE_BLOCK, never);
    await runtime.applyInstance(sceneInstance("in-a", { nodeId: "node-9" }), never);
    const homeless = await sceneInstanceWhen(runtime, "in-a", ({ message = "" }) =>
      /no node/.test(message),
    );
    expect(homeless).toMatchObject({ phase: "pending", isReady: false, nodeId: "node-9" });
    scene.nodes.behave(() => ({ imagePullError: true }));
    await runtime.applyInstance(sceneInstance("in-b"), never);
    const imageless = await sceneInstanceWhen(runtime, "in-b", ({ message = "" }) =>
      /ImagePull/.test(message),
    );
    expect(imageless).toMatchObject({ phase: "pending", isReady: false });
  });

  it("lets Kubernetes count GPUs where they are counted", async () => {
    const counted = await scene.open(namespace, { gpuBinding: "counted" });
    await counted.applyBlock(SCENE_BLOCK, never);
    const devices = Array.from({ length: 5 }, (_, slot) => ({ ...GPU, uuid: `GPU-${slot}`, slot }));
    await counted.applyInstance(sceneInstance("in-a", { devices }), never);
    await sceneInstanceWhen(counted, "in-a", ({ isReady }) => isReady);
    await counted.applyInstance(sceneInstance("in-b", { devices }), never);
    const left = await sceneInstanceWhen(counted, "in-b", ({ message = "" }) =>
      /no node/.test(message),
    );
    expect(left.message).toMatch(/nvidia\.com\/gpu/);
  });

  it("makes the executor of an operator's file, and refuses a route where there is no Gateway API", async () => {
    const container = {
      name: "executor",
      image: "registry.test/executor:1",
      ports: [{ name: "grpc", port: 50_051 }],
    };
    const executor = { containers: [container], serviceType: "NodePort" as const };
    const rich = await scene.open(namespace, { workloads: { executor } });
    expect(await rich.applyBlock(SCENE_BLOCK, never)).toEqual(APPLIED);
    expect(await rich.applyBlock(SCENE_BLOCK, never)).toEqual(APPLIED);
    expect(await item(APPS, "deployments", "blk-a-executor")).toBeDefined();
    expect(await item("api/v1", "services", "blk-a-executor-svc")).toBeDefined();
    expect(await rich.observe(never)).toEqual({ blockIds: ["blk-a"], instances: [] });
    await rich.removeBlock("blk-a", never);
    expect(await scene.items("api/v1", namespace, "services")).toEqual([]);
    const route = { gateway: "grpc-gateway", port: 50_051 };
    const routed = await scene.open(namespace, { workloads: { executor, route } });
    expect(await routed.applyBlock(SCENE_BLOCK, never)).toMatchObject({
      kind: "refused",
      reason: "PRECONDITION_FAILED",
    });
    expect(await routed.observe(never)).toEqual({ blockIds: [], instances: [] });
  });

  it("has manifests that the API server takes, and an example of an agent that its namespace admits", async () => {
    for (const file of ["namespace.yaml", "rbac.yaml", "nodes.yaml", "agent.yaml"]) {
      await applyManifests(scene.kubernetes.api, readFileSync(path.join(DEPLOY, file), "utf8"));
    }
    const admitted = async () => {
      const pods = await scene.items("api/v1", "berth", "pods");
      return pods.some(({ metadata }) => metadata.labels?.app === "cluster-agent");
    };
    await until("a pod of the agent", admitted, 20_000);
  });
});
