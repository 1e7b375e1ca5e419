import { silentLogger } from "@berth/service-kit";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { hasKubernetes } from "../../../test/support/kubernetes/binaries.ts";
import { Cleanup } from "../testing/agent.ts";
import { until } from "../testing/fixtures.ts";
import { KubernetesScene, SCENE_PROGRAM } from "../testing/kubernetes-scene.ts";
import { NODE_A, type NodesAgent, startNodesAgent } from "../testing/two-nodes.ts";

/** Longest wait for what Kubernetes has to tell, ms. */
const LIMIT_MS = 60_000;

describe.skipIf(!hasKubernetes())("nodes of a real Kubernetes API", () => {
  const cleanup = new Cleanup();
  let scene: KubernetesScene;
  beforeAll(async () => {
    scene = await KubernetesScene.start();
  });
  afterEach(() => cleanup.run());
  afterAll(async () => {
    await scene.stop();
  });

  /** An agent with the rights of its own account; `warnings` fills with what it warns of. */
  const started = async (): Promise<NodesAgent & { warnings: string[] }> => {
    const runtime = await scene.settings(cleanup, await scene.namespace());
    const warnings: string[] = [];
    const warn = (message: string) => void warnings.push(message);
    const logger = { ...silentLogger, warn };
    const fleet = await startNodesAgent(cleanup, { options: { runtime, logger } });
    return { ...fleet, warnings };
  };
  const addNode = (fleet: NodesAgent, id: string) =>
    fleet.call("POST", "/cluster-actions/add-node", { id });
  const stateOf = async (fleet: NodesAgent, id: string) =>
    (await fleet.call("GET", `/nodes/${id}`)).body.data?.state;
  const reasonOf = async (fleet: NodesAgent, id: string): Promise<string> => {
    const { body } = await fleet.call("GET", "/controller/nodes_status");
    const found = body.nodes_status.find(({ node_id }: { node_id: string }) => node_id === id);
    return found?.reason ?? "";
  };
  const cordon = (name: string, unschedulable: boolean) =>
    scene.kubernetes.api.request("PATCH", `/api/v1/nodes/${name}`, {
      body: { spec: { unschedulable } },
      contentType: "application/merge-patch+json",
    });
  const create = (fleet: NodesAgent, id: string) => {
    const { image: containerImage, command } = SCENE_PROGRAM;
    const block_data = {
      ...{ id, component: { containerRegistryInfo: { containerImage, command } } },
      ...{ resources: { cpuMillis: 10, memoryMiB: 16 }, minInstances: 1 },
    };
    return fleet.act({ action: "create_block", block_data });
  };

  it("are not seen without the right to, which is warned of once, and seen when it is given", async () => {
    const fleet = await started();
    const missing = () => fleet.warnings.filter((one) => one.includes("watch nodes is missing"));
    await until("the right is missed", () => missing().length > 0, LIMIT_MS);
    await fleet.join(NODE_A);
    const { ledger } = fleet.blocks;
    await until("the ledger to open", () => ledger.status.state === "open", LIMIT_MS);
    expect(await create(fleet, "without")).toMatchObject({ status: 200 });
    await addNode(fleet, "node-1");
    expect(await stateOf(fleet, "node-1")).toBe("expected");
    await scene.allowNodes();
    const isReady = async () => (await stateOf(fleet, "node-1")) === "ready";
    await until("node-1 to be ready", isReady, LIMIT_MS);
    expect(missing()).toHaveLength(1);
  });

  it("make expected ones ready, which run blocks, and close those that are cordoned or not Ready", async () => {
    await scene.allowNodes();
    const fleet = await started();
    const { ledger } = fleet.blocks;
    await until("the ledger to open", () => ledger.status.state === "open", LIMIT_MS);
    await scene.nodes.setReady("node-2", false);
    await addNode(fleet, "node-1");
    await addNode(fleet, "node-2");
    const isReady = (id: string) => async () => (await stateOf(fleet, id)) === "ready";
    await until("node-1 to be ready", isReady("node-1"), LIMIT_MS);
    expect(await stateOf(fleet, "node-2")).toBe("expected");
    expect(await create(fleet, "first")).toMatchObject({ status: 200 });

    await cordon("node-1", true);
    const tells = (id: string, why: RegExp) => async () => why.test(await reasonOf(fleet, id));
    await until("the cordon to be told", tells("node-1", /^cordoned in Kubernetes$/), LIMIT_MS);
    const refused = await create(fleet, "second");
    expect(refused.status).not.toBe(200);
    expect(JSON.stringify(refused.body)).toContain("cordoned in Kubernetes");
    await cordon("node-1", false);
    await until("node-1 to be of use again", tells("node-1", /^$/), LIMIT_MS);
    expect(await create(fleet, "third")).toMatchObject({ status: 200 });

    await scene.nodes.setReady("node-2", true);
    await until("node-2 to be ready", isReady("node-2"), LIMIT_MS);
    await scene.nodes.setReady("node-2", false);
    await until("why to be told", tells("node-2", /^not Ready in Kubernetes/), LIMIT_MS);
    await scene.nodes.setReady("node-2", true);
    await until("node-2 to be of use again", tells("node-2", /^$/), LIMIT_MS);
  });
});
