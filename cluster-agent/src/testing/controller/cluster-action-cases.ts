import { describe, expect, it } from "vitest";
import type { Answer } from "../block-agent.ts";
import type { ControllerClient as Client } from "./controller-client.ts";
import { refusal } from "./failure.ts";

/** The cluster and its nodes, at the root and below `urlMap.controllerService`; each with a node of its own. */
export function clusterActionCases(client: Client): void {
  describe.each([
    ["", "node-1"],
    ["/controller", "node-2"],
  ])("the cluster's API below '%s'", (prefix, nodeId) => {
    const path = `${prefix}/cluster-actions`;
    documentCases(client, path);
    onboardingCases(client, path);
    cordonCases(client, path);
    removalCases(client, { path, nodeId });
  });
}

function documentCases(client: Client, path: string): void {
  const update = (body: object) => client.call("PATCH", `${path}/update-cluster`, body);

  it("shows the cluster with its nodes", async () => {
    const { status, body } = await client.call("GET", `${path}/get-cluster`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      success: true,
      data: {
        ...{ id: "c1", regionId: expect.any(String), status: expect.any(String) },
        nodes: {
          count: 1,
          nodeData: [
            { id: client.nodeId, gpus: { count: 4 }, vcpus: { count: expect.any(Number) } },
          ],
        },
        ...{ gpus: { count: 4, memory: expect.any(Number) }, vcpus: { count: expect.any(Number) } },
        ...{ memory: expect.any(Number), swap: expect.any(Number) },
        storage: { disks: expect.any(Number), size: expect.any(Number) },
        network: {
          ...{ interfaces: expect.any(Number), txBandwidth: expect.any(Number) },
          rxBandwidth: expect.any(Number),
        },
        ...{ config: { urlMap: expect.any(Object) }, tags: expect.any(Array) },
        ...{ clusterMetadata: expect.any(Object), reputation: expect.any(Number) },
      },
    });
  });

  it("updates the cluster as the seed and as the existing deployment write it", async () => {
    const seeds = await update({ $set: { tags: ["gpu", "updated"], reputation: 97 } });
    expect(seeds).toMatchObject({
      status: 200,
      body: { success: true, data: { id: "c1", tags: ["gpu", "updated"], reputation: 97 } },
    });
    const plain = await update({ regionId: "ap", "clusterMetadata.owner": "x" });
    expect(plain.body.data).toMatchObject({ regionId: "ap", clusterMetadata: { owner: "x" } });
    const many = await update({
      ...{ $inc: { reputation: -7 }, $push: { tags: "new" } },
      $unset: { "clusterMetadata.owner": "" },
    });
    expect(many.body.data).toMatchObject({ reputation: 90, tags: ["gpu", "updated", "new"] });
    expect(many.body.data.clusterMetadata).not.toHaveProperty("owner");
    expect((await update({ $pull: { tags: "new" } })).body.data.tags).toEqual(["gpu", "updated"]);
    const { body } = await client.call("GET", `${path}/get-cluster`);
    expect(body.data).toMatchObject({ regionId: "ap", reputation: 90, tags: ["gpu", "updated"] });
  });

  it.each([
    [{}, /update/],
    [{ id: "c2" }, /\bid\b/],
    [{ $set: { nodes: { count: 9 } } }, /nodes/],
    [{ "gpus.count": 9 }, /gpus/],
    [{ $rename: { tags: "t" } }, /\$rename/],
    [{ tags: "gpu" }, /^tags/],
    [{ reputation: "high" }, /^reputation/],
    [{ "config.actionsPolicyMap": 7 }, /actionsPolicyMap/],
  ])("refuses the update %j by the field", async (body, message) => {
    const before = await client.call("GET", `${path}/get-cluster`);
    expect(await update(body)).toMatchObject(refusal(400, "INVALID_ARGUMENT", message));
    expect(await client.call("GET", `${path}/get-cluster`)).toEqual(before);
  });
}

function onboardingCases(client: Client, path: string): void {
  const add = (body: object) => client.call("POST", `${path}/add-node`, body);
  const remove = (id: string) => client.call("DELETE", `${path}/remove-node/${id}`);

  it.each([
    ["flat", (entry: object) => entry],
    ["within node_data", (entry: object) => ({ node_data: entry })],
  ])("onboards a node whose entry is %s, and makes it expected only", async (_name, shaped) => {
    const entry = {
      ...{ id: "new", gpus: { count: 2, memory: 81_920 }, vcpus: { count: 8 }, memory: 64_000 },
      ...{ swap: 0, storage: { disks: 1, size: 1_000 }, tags: ["t"], clusterId: "c1" },
      network: { interfaces: 1, txBandwidth: 10, rxBandwidth: 10 },
    };
    const added = await add(shaped(entry));
    expect(added).toMatchObject({
      status: 200,
      body: {
        ...{ success: true, data: { id: "c1", nodes: { count: 1 } } },
        node: { id: "new", state: "expected", node_data: { tags: ["t"] } },
      },
    });
    expect((await client.call("GET", "/healthy_nodes")).body.nodes).toEqual([client.nodeId]);
    expect((await client.call("GET", "/nodes/new")).body.data).toMatchObject({ state: "expected" });
    expect(await remove("new")).toMatchObject({ status: 200, body: { data: { id: "c1" } } });
    expect((await client.call("GET", "/nodes?state=removed")).body.data).toMatchObject([
      { id: "new" },
    ]);
    expect((await client.call("DELETE", "/nodes/new")).status).toBe(200);
  });

  it.each([
    [{}, /^Invalid node data/],
    [{ id: "Node B" }, /^id/],
    [{ tags: [] }, /^id/],
    [{ id: "n", tags: "gpu" }, /^tags/],
    [{ id: "n", gpus: { count: -1 } }, /^gpus\.count/],
    [{ id: "n", memory: "much" }, /^memory/],
    [{ id: "n", clusterId: "other" }, /^clusterId/],
    [{ node_data: 7 }, /^Invalid node data/],
  ])("refuses the entry %j by the field", async (entry, message) => {
    expect(await add(entry)).toMatchObject(refusal(400, "INVALID_ARGUMENT", message));
  });
}

function cordonCases(client: Client, path: string): void {
  const turn = (verb: string, id: string) => client.call("POST", `${path}/${verb}-node/${id}`);

  it("cordons and uncordons a node", async () => {
    const { nodeId } = client;
    expect(await turn("cordon", nodeId)).toMatchObject({
      status: 200,
      body: { success: true, data: { id: "c1" }, node: { id: nodeId, state: "cordoned" } },
    });
    expect((await client.call("GET", "/healthy_nodes")).body.nodes).toEqual([]);
    const refused = await client.create("b1");
    expect(refused).toMatchObject({ status: 409, body: { reason: "CONFLICT" } });
    expect(refused.body.data).toMatch(/node-a: cordoned/);
    expect(await turn("uncordon", nodeId)).toMatchObject({
      ...{ status: 200, body: { node: { state: "ready" } } },
    });
    expect((await client.create("b1")).status).toBe(200);
  });

  it.each(["cordon", "uncordon"])("%s-node refuses a node that nobody knows", async (verb) => {
    expect(await turn(verb, "nobody")).toMatchObject(refusal(404, "NOT_FOUND", /nobody/));
  });
}

function removalCases(
  client: Client,
  { path, nodeId }: { readonly path: string; readonly nodeId: string },
): void {
  const remove: Remove = (id, query = "") =>
    client.call("DELETE", `${path}/remove-node/${id}${query}`);
  movingCase(client, remove, { path, nodeId });
  forcedCase(client, remove, nodeId);
  refusedRemovalCase(client, remove);
}

type Remove = (id: string, query?: string) => Promise<Answer>;

function movingCase(
  client: Client,
  remove: Remove,
  { path, nodeId }: { readonly path: string; readonly nodeId: string },
): void {
  it("removes a node when all of it has moved, and lets it in again when it is onboarded", async () => {
    await client.controller.join(nodeId);
    await client.create("b1", { minInstances: 0 });
    const allocation_data = [0, 1].map((gpu) => ({ node_id: nodeId, gpu_ids: [gpu] }));
    const up = { block_id: "b1", operation: "scale", instances_count: 2, allocation_data };
    expect((await client.act("scale", up)).status).toBe(200);
    await client.ready("b1", 2);
    const accepted = await remove(nodeId, `?wait=false&idempotency_key=${nodeId}`);
    expect(accepted).toMatchObject({
      status: 202,
      body: {
        ...{ success: true, data: { operation_id: expect.any(String), state: "running" } },
        operation: { action: "remove-node", block_id: `node/${nodeId}` },
      },
    });
    const id = accepted.body.data.operation_id;
    const result = { node_id: nodeId, moved: 2, ended: 0 };
    expect(await client.operation(id, "done")).toMatchObject({ result });
    expect(await remove(nodeId, `?idempotency_key=${nodeId}`)).toMatchObject({
      status: 200,
      body: { data: { id: "c1", nodes: { count: 1 } }, operation: { operation_id: id } },
    });
    const instances = await client.instances("b1");
    expect(instances).toMatchObject([{ node_id: client.nodeId }, { node_id: client.nodeId }]);
    expect(await client.taken()).toBe(2);
    expect(await remove(nodeId)).toMatchObject(
      refusal(404, "NOT_FOUND", `^Node ${nodeId} not found in cluster$`),
    );
    await expect(client.controller.join(nodeId)).rejects.toThrow(/was removed/);
    await client.call("POST", `${path}/add-node`, { id: nodeId });
    await client.controller.join(nodeId);
    expect((await client.call("GET", "/healthy_nodes")).body.nodes).toContain(nodeId);
    expect((await remove(nodeId)).status).toBe(200);
    expect((await client.call("DELETE", `/nodes/${nodeId}`)).status).toBe(200);
  });
}

function forcedCase(client: Client, remove: Remove, nodeId: string): void {
  it("leaves a node cordoned that cannot be emptied in time, and ends what is there by force", async () => {
    await client.controller.join(nodeId);
    await client.create("b1", { minInstances: 0, resources: { gpus: 2 } });
    await client.create("b2", { resources: { gpus: 4 } });
    const allocation_data = [{ node_id: nodeId, gpu_ids: [0, 1] }];
    const up = { block_id: "b1", operation: "scale", instances_count: 1, allocation_data };
    expect((await client.act("scale", up)).status).toBe(200);
    const [{ instance_id }] = await client.instances("b1");
    const late = await remove(nodeId, "?timeout_ms=500");
    expect(late).toMatchObject(refusal(504, "DEADLINE_EXCEEDED", /stays cordoned/));
    expect(late.body.instances).toMatchObject([{ block_id: "b1", instance_id }]);
    expect((await client.call("GET", `/nodes/${nodeId}`)).body.data.state).toBe("cordoned");
    const forced = await remove(nodeId, "?timeout_ms=0&force=true");
    expect(forced).toMatchObject({ status: 200, body: { operation: { state: "done" } } });
    expect(forced.body.operation.result).toEqual({ node_id: nodeId, moved: 0, ended: 1 });
    expect(await client.instances("b1")).toEqual([]);
    expect((await client.call("DELETE", `/nodes/${nodeId}`)).status).toBe(200);
  });
}

function refusedRemovalCase(client: Client, remove: Remove): void {
  it("refuses removals that do not hold by the field", async () => {
    expect(await remove("nobody")).toMatchObject(
      refusal(404, "NOT_FOUND", /^Node nobody not found in cluster$/),
    );
    for (const field of ["timeout_ms=soon", "force=maybe", "wait=perhaps", "idempotency_key="]) {
      const [name] = field.split("=");
      expect(await remove(client.nodeId, `?${field}`)).toMatchObject(
        refusal(400, "INVALID_ARGUMENT", `^${name}`),
      );
    }
    expect(await remove(client.nodeId, "?timeout_ms=999999999")).toMatchObject(
      refusal(400, "INVALID_ARGUMENT", /^timeout_ms/),
    );
    const { body } = await client.call("GET", `/nodes/${client.nodeId}`);
    expect(body.data.state).toBe("ready");
  });
}
