import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { hasKubernetes } from "../../../test/support/kubernetes/binaries.ts";
import { Cleanup } from "../testing/agent.ts";
import { startBlockAgent } from "../testing/block-agent.ts";
import { until } from "../testing/fixtures.ts";
import { KubernetesScene, SCENE_PROGRAM } from "../testing/kubernetes-scene.ts";
import type { RuntimeConfig } from "./runtime-options.ts";

const MAIN = fileURLToPath(new URL("../main.ts", import.meta.url));

describe.skipIf(!hasKubernetes())("an agent whose blocks run on Kubernetes", () => {
  const cleanup = new Cleanup();
  const dataDir = mkdtempSync(path.join(tmpdir(), "berth-agent-"));
  let scene: KubernetesScene;
  beforeAll(async () => {
    scene = await KubernetesScene.start();
  });
  afterEach(() => cleanup.run());
  afterAll(async () => {
    await scene.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  const started = async (namespace: string) => {
    const { kubeconfigPath } = await scene.agentAccess();
    const runtime: RuntimeConfig = {
      runtime: "kubernetes",
      ...{ kubeconfig: kubeconfigPath, kubernetesNamespace: namespace, kubernetesWorkloads: "" },
      kubernetesGpuBinding: "exclusive",
    };
    return await startBlockAgent(cleanup, { dataDir, options: { runtime } });
  };

  it("creates, shows, scales and removes a block, and finds it again after its end", async () => {
    const namespace = await scene.namespace();
    const first = await started(namespace);
    expect(first.blocks.runtime.kind).toBe("kubernetes");
    const { image, command } = SCENE_PROGRAM;
    const created = await first.act({
      action: "create_block",
      block_data: {
        id: "echo",
        component: { containerRegistryInfo: { containerImage: image, command } },
        resources: { gpus: 1, cpuMillis: 100, memoryMiB: 64 },
        ...{ minInstances: 1, maxInstances: 3 },
      },
    });
    expect(created.body).toMatchObject({ success: true });
    const instances = async () =>
      (await first.call("GET", "/blocks/echo")).body.data.instances as { isReady?: boolean }[];
    const isReady = async () => JSON.stringify(await instances()).includes('"ready":true');
    await until("the instance is ready", isReady, 30_000).catch(async (thrown) => {
      throw new Error(`${thrown.message}: ${JSON.stringify(await instances())}`);
    });
    await first.agent.stop();
    const second = await started(namespace);
    const scaled = await second.act({
      ...{ action: "scale", operation: "scale", block_id: "echo", instances_count: 1 },
    });
    expect(scaled.body).toMatchObject({ success: true });
    expect(await scene.items("apis/apps/v1", namespace, "deployments")).toHaveLength(2);
    const { body } = await second.call("GET", "/allocations");
    expect(body.data).toHaveLength(2);
    const removed = await second.act({ action: "remove_block", block_id: "echo" });
    expect(removed.body).toMatchObject({ success: true });
    expect(await scene.items("api/v1", namespace, "pods")).toEqual([]);
    expect((await second.call("GET", "/allocations")).body.data).toEqual([]);
  });

  it("is a program that ends in order when another agent has taken its lease", async () => {
    const namespace = await scene.namespace();
    const { kubeconfigPath } = await scene.agentAccess();
    const child = spawn(process.execPath, [MAIN], {
      env: {
        ...{
          BERTH_DATA_DIR: await cleanup.directory(),
          BERTH_HTTP_PORT: "0",
          BERTH_NODE_PORT: "0",
        },
        ...{ BERTH_CONTROL_PLANE_URL: "http://127.0.0.1:9", BERTH_RUNTIME: "kubernetes" },
        ...{ BERTH_KUBECONFIG: kubeconfigPath, BERTH_KUBERNETES_NAMESPACE: namespace },
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    cleanup.add(() => child.kill("SIGKILL"));
    let log = "";
    child.stdout.on("data", (data) => {
      log += String(data);
    });
    await until("it is the active one", () => log.includes("the agent is the active one"), 30_000);
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/berth-cluster-agent`;
    await scene.kubernetes.api.request("PATCH", path, {
      body: { spec: { holderIdentity: "another" } },
      contentType: "application/merge-patch+json",
    });
    const [code] = await once(child, "exit");
    expect(code).toBe(0);
    expect(log).toContain("the agent is fenced");
    const lease = await scene.kubernetes.api.get<{ spec: { holderIdentity: string } }>(path);
    expect(lease.spec.holderIdentity).toBe("another");
  });
});
