import { describe, expect, it } from "vitest";
import type { Answer, Method } from "../block-agent.ts";
import type { ControllerClient as Client } from "./controller-client.ts";
import { type Orders, obedient } from "./obedient-policy.ts";

/** Pre-checks: all that a policy may say of each hook, on each route that asks it. */
export function precheckCases(client: Client): void {
  describe("pre-checks", () => {
    denialCases(client);
    modeCases(client);
    changeCases(client);
    unchangeableCases(client);
    laterHookCases(client);
    shownCases(client);
  });
}

type Request = readonly [Method, string, object?];
const action = (name: string, fields: object): Request => [
  ...(["POST", "/executeAction", { action: name, ...fields }] as const),
];

/** Requests by the hook that governs them; "b1" is there. */
function governed(client: Client): readonly (readonly [string, Request])[] {
  const { nodeId } = client;
  const move = { block_id: "b1", instance_id: "in-1" };
  const down = { block_id: "b1", operation: "downscale", instances_list: ["in-1"] };
  return [
    ["add_block", action("create_block", { block_data: client.entry("b2") })],
    ["remove_block", action("remove_block", { block_id: "b1" })],
    ["scale_block", action("scale", { block_id: "b1", operation: "scale", instances_count: 1 })],
    ["scale_block", action("scale", down)],
    ["scale_block", action("remove_instance", move)],
    ["block_mgmt", action("parameter_update", { block_id: "b1", update_data: { a: 1 } })],
    ["block_mgmt", action("reassign-instances", move)],
    ["block_mgmt", action("reassign", move)],
    ["block_mgmt", ["PUT", "/block/update/b1", { $set: { tags: ["x"] } }]],
    ["block_mgmt", ["PUT", "/blocks/block/update/b1/max_instances", { maxInstances: 9 }]],
    ["update_cluster", ["PATCH", "/cluster-actions/update-cluster", { tags: ["x"] }]],
    ["update_cluster", ["PATCH", "/controller/cluster-actions/update-cluster", { tags: ["x"] }]],
    ["add_node", ["POST", "/cluster-actions/add-node", { id: "new" }]],
    ["add_node", ["POST", "/controller/cluster-actions/add-node", { id: "new" }]],
    ["remove_node", ["DELETE", `/cluster-actions/remove-node/${nodeId}`]],
    ["remove_node", ["DELETE", `/controller/cluster-actions/remove-node/${nodeId}?force=true`]],
    ["remove_node", ["DELETE", `/nodes/${nodeId}?force=true`]],
    ["cluster_mgmt", ["POST", `/cluster-actions/cordon-node/${nodeId}`]],
    ["cluster_mgmt", ["POST", `/controller/cluster-actions/uncordon-node/${nodeId}`]],
  ];
}

/** Everything that the requests of {@link governed} would change. */
async function standing(client: Client): Promise<object> {
  const read = async (url: string) => (await client.call("GET", url)).body.data;
  const { cluster: _later, ...b1 } = await read("/blocks/b1");
  const { tags } = await read("/cluster-actions/get-cluster");
  const [blocks, nodes] = [await read("/blocks"), await read("/nodes?state=ready")];
  return { b1, tags, blocks: blocks.length, nodes: nodes.length, taken: await client.taken() };
}

function denialCases(client: Client): void {
  it.each([
    ["input_data, a text", { input_data: "not here" }, "not here"],
    ["input_data, an object", { input_data: { reason: "not here", n: 1 } }, { n: 1 }],
    ["message, as the existing deployment has it", { message: "not here" }, "not here"],
  ])("deny with 403 and the reason, on every route: %s", async (_name, deny, told) => {
    await client.create("b1", { minInstances: 0 });
    const before = await standing(client);
    for (const [hook, [method, url, body]] of governed(client)) {
      await client.controller.govern({ [hook]: obedient({ deny }) });
      const answer = await client.call(method, url, body);
      const asked = `${hook}: ${method} ${url} ${JSON.stringify(body)}`;
      expect({ asked, ...answer }).toMatchObject({
        ...{ asked, status: 403 },
        body: {
          ...{ success: false, reason: "PRECHECK_DENIED", hook, policy_rule_uri: "obedient:1-s" },
          message: `${hook} is not allowed by policy obedient:1-s: not here`,
          input_data: typeof told === "string" ? told : expect.objectContaining(told),
        },
      });
      // Clients of the existing deployment read it there.
      if (url === "/executeAction") expect(answer.body.data).toBe(answer.body.message);
    }
    await client.controller.govern({});
    expect(await standing(client)).toEqual(before);
  });

  it("refuse when the policy cannot be had", async () => {
    await client.controller.govern({ add_block: "nobody:1-s" });
    const { status, body } = await client.create("b1");
    expect([status, body.reason]).toEqual([403, "PRECHECK_DENIED"]);
    expect(body.message).toMatch(/policy nobody:1-s gave no verdict/);
  });
}

function modeCases(client: Client): void {
  const deny = { input_data: "not here" };
  const newest = async () => {
    const { body } = await client.call("GET", "/prechecks/verdicts?hook=add_block&limit=1");
    return body.data[0];
  };

  it("deny in mode enforce, tell in mode warn, and write down in mode audit", async () => {
    const message = "add_block is not allowed by policy obedient:1-s: not here";
    await client.controller.govern({ add_block: obedient({ deny }, { mode: "enforce" }) });
    expect((await client.create("b1", { minInstances: 0 })).status).toBe(403);
    await client.controller.govern({ add_block: obedient({ deny }, { mode: "warn" }) });
    expect(await client.create("b1", { minInstances: 0 })).toMatchObject({
      ...{ status: 200, body: { data: "Action performed", warnings: [message] } },
    });
    expect(await newest()).toMatchObject({ verdict: "denied", mode: "warn", about: "block/b1" });
    await client.controller.govern({ add_block: obedient({ deny }, { mode: "audit" }) });
    const audited = await client.create("b2", { minInstances: 0 });
    expect([audited.status, audited.body.warnings]).toEqual([200, undefined]);
    expect(await newest()).toMatchObject({ verdict: "denied", mode: "audit", about: "block/b2" });
  });

  it("change nothing in modes warn and audit", async () => {
    const orders = { path: ["block_data", "tags"], value: ["changed"] };
    for (const mode of ["warn", "audit"]) {
      await client.controller.govern({ add_block: obedient(orders, { mode }) });
      expect((await client.create(mode, { minInstances: 0, tags: ["own"] })).status).toBe(200);
      expect((await client.call("GET", `/blocks/${mode}`)).body.data.tags).toEqual(["own"]);
    }
  });
}

/** The ways in which a policy returns what it has changed. */
const RETURNED = [
  ["the whole input", {}],
  ["the member alone", { alone: true }],
] as const;

function changeCases(client: Client): void {
  describe.each(RETURNED)("that return %s", (_name, returned) => {
    const govern = (hook: string, orders: Orders) =>
      client.controller.govern({ [hook]: obedient({ ...orders, ...returned }) });
    const shown = async () => (await client.call("GET", "/blocks/b1")).body.data;

    it("change what is done to blocks", async () => {
      await govern("add_block", { path: ["block_data", "parameters"], value: { level: 10 } });
      expect((await client.create("b1", { minInstances: 0 })).status).toBe(200);
      expect((await shown()).parameters).toEqual({ level: 10 });
      await govern("scale_block", { path: ["input", "instances_count"], value: 1 });
      const up = { block_id: "b1", operation: "scale", instances_count: 3 };
      expect((await client.act("scale", up)).status).toBe(200);
      expect(await client.instances("b1")).toHaveLength(1);
      const path = ["input", "payload", "update_data"];
      await govern("block_mgmt", { path, value: { level: 11 } });
      const asked = { block_id: "b1", update_data: { level: 99 } };
      expect((await client.act("parameter_update", asked)).status).toBe(200);
      expect((await shown()).parameters).toEqual({ level: 11 });
      await govern("block_mgmt", { path: ["input", "payload", "update"], value: { tags: ["p"] } });
      expect((await client.call("PUT", "/block/update/b1", { tags: ["mine"] })).status).toBe(200);
      expect((await shown()).tags).toEqual(["p"]);
    });

    it("change what is done to the cluster and its nodes", async () => {
      await govern("update_cluster", { path: ["input", "regionId"], value: "policy" });
      const { body } = await client.call("PATCH", "/cluster-actions/update-cluster", {
        regionId: "mine",
      });
      expect(body.data.regionId).toBe("policy");
      await govern("add_node", { path: ["node_data", "tags"], value: ["p"] });
      const added = await client.call("POST", "/cluster-actions/add-node", { id: "new" });
      expect(added.body.node).toMatchObject({ id: "new", node_data: { tags: ["p"] } });
      await client.controller.govern({});
      expect((await client.call("DELETE", "/nodes/new")).status).toBe(200);
    });
  });

  it("return a node's entry as the existing deployment does, under updated_node_data", async () => {
    const orders = { path: ["node_data", "tags"], value: ["p"] };
    const older = { ...orders, alone: true, under: "updated_node_data" };
    await client.controller.govern({ add_node: obedient(older) });
    const added = await client.call("POST", "/cluster-actions/add-node", { id: "new" });
    expect(added.body.node).toMatchObject({ id: "new", node_data: { tags: ["p"] } });
    await client.controller.govern({});
    expect((await client.call("DELETE", "/nodes/new")).status).toBe(200);
  });
}

function unchangeableCases(client: Client): void {
  it("cannot change who it is about, nor make it what does not hold", async () => {
    await client.create("b1", { minInstances: 0 });
    const before = await standing(client);
    const changes: [string, readonly string[], unknown, () => Promise<Answer>][] = [
      ["add_block", ["block_data", "id"], "other", () => client.create("b2")],
      ["add_block", ["block_data", "minInstances"], -1, () => client.create("b2")],
      ["update_cluster", ["input", "id"], "c2", () => send("update_cluster")],
      ["add_node", ["node_data", "id"], "other", () => send("add_node")],
      ["remove_node", ["node_id"], "other", () => send("remove_node")],
      ["scale_block", ["input", "block_id"], "other", () => send("scale_block")],
      ["scale_block", ["input", "instances_count"], -1, () => send("scale_block")],
      ["block_mgmt", ["input", "action"], "reassign", () => send("block_mgmt")],
      ["cluster_mgmt", ["input", "action"], "uncordon-node", () => send("cluster_mgmt")],
    ];
    const send = (wanted: string) => {
      const [, request] = governed(client).find(([hook]) => hook === wanted) ?? [];
      const [method, url, body] = request ?? (["GET", "/none"] as const);
      return client.call(method, url, body);
    };
    for (const [hook, path, value, ask] of changes) {
      await client.controller.govern({ [hook]: obedient({ path, value }) });
      const { status, body } = await ask();
      expect({ hook, path, status, reason: body.reason }).toEqual({
        ...{ hook, path, status: 400, reason: "POLICY_FAILED" },
      });
    }
    await client.controller.govern({});
    expect(await standing(client)).toEqual(before);
  });
}

function laterHookCases(client: Client): void {
  it.each([
    ["add_vdag_controller", "create_controller"],
    ["remove_vdag_controller", "remove_controller"],
  ])("%s is kept and asked when %s comes", async (hook, later) => {
    await client.controller.govern({ [hook]: obedient({ deny: { input_data: "not here" } }) });
    const body = { action: later, payload: { vdag_controller_id: "v1", vdag_uri: "d:1-s" } };
    for (const url of ["/vdag-controller", "/controller/vdag-controller"]) {
      expect(await client.call("POST", url, body)).toMatchObject({
        ...{ status: 501, body: { reason: "UNIMPLEMENTED" } },
      });
    }
    const shown = (await client.call("GET", "/prechecks")).body.data;
    expect(shown.hooks[hook]).toMatchObject({ policy_rule_uri: "obedient:1-s", mode: "enforce" });
  });
}

function shownCases(client: Client): void {
  it("are shown with the keys that name none, and their verdicts are listed", async () => {
    const map = { add_block: "obedient:1-s", onScaleUp: "x", remove_block: null };
    const updated = await client.call("PATCH", "/cluster-actions/update-cluster", {
      $set: { "config.actionsPolicyMap": map },
    });
    expect(updated.body.data.config.actionsPolicyMap).toEqual(map);
    expect(updated.body.warnings).toEqual([expect.stringContaining("actionsPolicyMap.onScaleUp")]);
    expect((await client.create("b1", { minInstances: 0 })).status).toBe(200);
    const shown = await client.call("GET", "/prechecks");
    expect(shown.body.data).toMatchObject({
      hooks: { add_block: { policy_rule_uri: "obedient:1-s" }, remove_block: null, add_node: null },
      unknown_keys: ["onScaleUp"],
    });
    const verdicts = await client.call("GET", "/prechecks/verdicts?hook=add_block&limit=1");
    expect(verdicts.body.data).toMatchObject([
      { about: "block/b1", verdict: "allowed", changed: false, mode: "enforce" },
    ]);
    expect((await client.call("GET", "/prechecks/verdicts?hook=none")).status).toBe(400);
  });
}
