import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";
import { knowPolicy } from "../testing/policies.ts";

const cleanup = new Cleanup();
let fleet: BlockAgent;
let store: DocumentStore;

/** Policies by what they are called here, as lines of Python. */
const POLICIES: Readonly<Record<string, readonly string[]>> = {
  deny: ['return {"allowed": False, "input_data": "not on my cluster"}'],
  same: ['return {"allowed": True, "input_data": input_data}'],
  raise: ['raise ValueError("broken")'],
  keys: ['return {"allowed": False, "input_data": sorted(input_data.keys())}'],
  metrics: ['return {"allowed": False, "input_data": sorted(self.settings["get_metrics"]())}'],
  item: [
    'changed = dict(input_data["block_data"])',
    'changed["parameters"] = {"level": 10.0}',
    'return {"allowed": True, "input_data": changed}',
  ],
  whole: [
    'input_data["block_data"]["maxInstances"] = 2',
    'return {"allowed": True, "input_data": input_data}',
  ],
  invalid: [
    'input_data["block_data"]["minInstances"] = -1',
    'return {"allowed": True, "input_data": input_data}',
  ],
  rename: [
    'input_data["block_data"]["id"] = "other"',
    'return {"allowed": True, "input_data": input_data}',
  ],
  one: [
    'if input_data["input"]["operation"] != "scale":',
    '    return {"allowed": False, "input_data": "down: " + ",".join(input_data["input"]["instances_list"])}',
    'input_data["input"]["instances_count"] = 1',
    'return {"allowed": True, "input_data": input_data}',
  ],
  elsewhere: [
    'input_data["input"]["block_id"] = "other"',
    'return {"allowed": True, "input_data": input_data}',
  ],
  another: [
    'input_data["input"]["payload"]["instance_id"] = "in-other"',
    'return {"allowed": True, "input_data": input_data}',
  ],
  force: [
    'input_data["input"]["force"] = True',
    'return {"allowed": True, "input_data": input_data}',
  ],
  swap: [
    'input_data["input"]["instances_list"] = ["in-other"]',
    'return {"allowed": True, "input_data": input_data}',
  ],
  take: [
    'input_data["input"].update({"instances_count": 1, "lease_ids": ["alices"]})',
    'return {"allowed": True, "input_data": input_data}',
  ],
  text: ['return {"allowed": True, "input_data": "ok"}'],
  shout: [
    'if input_data["input"]["action"] == "update":',
    '    input_data["input"]["payload"]["update"] = {"tags": ["governed"]}',
    'elif input_data["input"]["action"] == "parameter_update":',
    '    input_data["input"]["payload"]["update_data"]["by"] = "policy"',
    "else:",
    '    return {"allowed": False, "input_data": input_data["input"]["action"]}',
    'return {"allowed": True, "input_data": input_data}',
  ],
  region: [
    'changed = {"regionId": "policy"}',
    'return {"allowed": True, "input_data": {"input": changed}}',
  ],
};
const uriOf = (name: string) => `${name}:1-s`;

beforeAll(async () => {
  const openStore: typeof openSqliteDocumentStore = (...given) => {
    store = openSqliteDocumentStore(...given);
    return store;
  };
  // The node reports once only, and the agent is that of all tests.
  const config = { nodeTtlMs: 600_000 };
  fleet = await startBlockAgent(cleanup, { config, options: { openStore } });
  for (const [name, lines] of Object.entries(POLICIES)) await knowPolicy(store, uriOf(name), lines);
}, 60_000);
beforeEach(() => govern({}));
afterAll(async () => {
  for (const { id } of fleet.blocks.book.blocks()) {
    await fleet.blocks.runtime.removeBlock(id, AbortSignal.timeout(20_000));
  }
  await cleanup.run();
});

/** Lets policies govern hooks, unasked. */
async function govern(map: Readonly<Record<string, unknown>>): Promise<void> {
  await fleet.agent.cluster.update({ $set: { "config.actionsPolicyMap": map } });
}

const component = { containerRegistryInfo: { command: ECHO_COMMAND } };
const block = (id: string, more: object = {}) => ({
  ...{ id, component, resources: { gpus: 0, cpuMillis: 10 }, ...more },
});
const create = (id: string, more: object = {}) =>
  fleet.act({ action: "create_block", block_data: block(id), ...more });
const update = (body: object) => fleet.call("PATCH", "/cluster-actions/update-cluster", body);
const instancesOf = async (id: string): Promise<{ instance_id: string }[]> =>
  (await fleet.call("GET", `/blocks/${id}`)).body.data.instances;

describe("an action that a policy governs", () => {
  it("is refused with 403 and the policy's reason, and nothing of it is done", async () => {
    await govern({ add_block: uriOf("deny") });
    const message = "add_block is not allowed by policy deny:1-s: not on my cluster";
    expect(await create("denied")).toMatchObject({
      status: 403,
      body: {
        ...{ success: false, reason: "PRECHECK_DENIED", message, data: message },
        ...{ hook: "add_block", policy_rule_uri: "deny:1-s", input_data: "not on my cluster" },
      },
    });
    expect((await fleet.call("GET", "/blocks/denied")).status).toBe(404);
    const { body } = await fleet.call("GET", "/prechecks/verdicts?hook=add_block&limit=1");
    expect(body.data).toMatchObject([
      { about: "block/denied", verdict: "denied", why: "not on my cluster", mode: "enforce" },
    ]);
    const outbox = { orgId: "default_org", collection: "outbox" };
    const events = async () => (await store.list<object>(outbox)).map((one) => one.body);
    await expect
      .poll(events)
      .toContainEqual(
        expect.objectContaining({ kind: "precheck_denied", key: "add_block/block/denied" }),
      );
  });

  it.each([
    ["add_block", ["block_data", "cluster_data", "cluster_metrics"]],
    ["scale_block", ["block_data", "input"]],
    ["block_mgmt", ["block_data", "input"]],
    [
      "remove_block",
      ["block_data", "block_instance_nodes", "block_metrics", "cluster_data", "cluster_metrics"],
    ],
    ["update_cluster", ["cluster_data", "input", "updated_cluster_data"]],
    ["add_node", ["cluster_data", "cluster_metrics", "node_data"]],
    ["remove_node", ["block_instances", "cluster_data", "cluster_metrics", "node_id"]],
    ["cluster_mgmt", ["cluster_data", "input"]],
  ])("gives the policy of %s its documented input", async (hook, keys) => {
    await govern({ [hook]: uriOf("keys") });
    const action = { block_id: "b", instance_id: "in-1" };
    const answer = await {
      add_block: () => create("b"),
      remove_block: () => fleet.act({ ...action, action: "remove_block" }),
      scale_block: () => fleet.act({ ...action, action: "remove_instance" }),
      block_mgmt: () => fleet.act({ ...action, action: "reassign" }),
      update_cluster: () => update({ regionId: "x" }),
      add_node: () => fleet.call("POST", "/cluster-actions/add-node", { id: "node-x" }),
      remove_node: () => fleet.call("DELETE", "/cluster-actions/remove-node/node-a"),
      cluster_mgmt: () => fleet.call("POST", "/controller/cluster-actions/cordon-node/node-a", {}),
    }[hook as "add_block"]();
    expect(answer).toMatchObject({ status: 403, body: { hook, input_data: keys } });
  });

  it("is not done by another route that does the same", async () => {
    await govern({ remove_node: uriOf("deny"), block_mgmt: uriOf("deny") });
    expect((await fleet.call("DELETE", "/nodes/node-a?force=true")).status).toBe(403);
    expect(fleet.agent.nodes.view("node-a")?.lifecycle).toBe("ready");
    const { roster } = fleet.agent.nodes;
    await roster.step("node-r", { kind: "onboard", entryJson: '{"id":"node-r"}' });
    for (const kind of ["drain", "retire"] as const) {
      await roster.step("node-r", { kind, operationId: "o" });
    }
    expect((await fleet.call("DELETE", "/nodes/node-r")).status).toBe(403);
    expect(roster.get("node-r")?.state).toBe("removed");
    await create("b2");
    for (const route of ["", "/parameters", "/max_instances"]) {
      const body = { parameters: {}, maxInstances: 99 };
      const { parameters, maxInstances } = body;
      const given = { "": body, "/parameters": { parameters }, "/max_instances": { maxInstances } };
      const answer = await fleet.call("PUT", `/block/update/b2${route}`, given[route as ""]);
      expect(answer).toMatchObject({ status: 403, body: { hook: "block_mgmt" } });
    }
  });

  it("can ask for the cluster's metrics, as in the existing deployment", async () => {
    await govern({ add_block: { policyRuleURI: uriOf("metrics") } });
    expect(await create("b")).toMatchObject({
      body: { input_data: expect.arrayContaining(["cluster_metrics", "node_metrics"]) },
    });
  });

  it("is done as asked when the policy returns what it was given", async () => {
    await govern({ add_block: uriOf("same") });
    expect(await create("same")).toMatchObject({ status: 200 });
    const { body } = await fleet.call("GET", "/prechecks/verdicts?limit=1");
    expect(body.data).toMatchObject([{ verdict: "allowed", changed: false }]);
  });

  it.each([
    ["item", { parameters: { level: 10 } }],
    ["whole", { maxInstances: 2 }],
  ])("is done as the policy has changed it, given the %s", async (name, expected) => {
    await govern({ add_block: uriOf(name) });
    expect(await create(`changed-${name}`)).toMatchObject({ status: 200 });
    const { body } = await fleet.call("GET", `/blocks/changed-${name}`);
    expect(body.data).toMatchObject(expected);
  });

  it.each([
    [
      "add_block",
      "invalid",
      /changed the input of add_block to what does not hold: block_data\.minInstances/,
    ],
    ["add_block", "rename", /a policy cannot change it from kept/],
    ["scale_block", "elsewhere", /block_id: a policy cannot change it/],
  ])("is refused when the policy of %s changes it to what is %s", async (hook, name, message) => {
    await govern({ [hook]: uriOf(name) });
    const scale = { action: "scale", operation: "scale", block_id: "kept", instances_count: 1 };
    const answer = hook === "add_block" ? await create("kept") : await fleet.act(scale);
    expect(answer).toMatchObject({
      ...{ status: 400, body: { reason: "POLICY_FAILED" } },
    });
    expect(answer.body.message).toMatch(message);
    expect(fleet.blocks.book.block("kept")).toBeUndefined();
  });

  it("is refused when its policy fails or is not there", async () => {
    await govern({ add_block: uriOf("raise") });
    const broken = await create("b");
    expect(broken).toMatchObject({ status: 403, body: { reason: "PRECHECK_DENIED" } });
    expect(broken.body.message).toMatch(/policy raise:1-s gave no verdict: .*broken/s);
    await govern({ add_block: "nobody:1-s" });
    const missing = await create("b");
    expect(missing.body.message).toMatch(/policy nobody:1-s gave no verdict: .*not known here/);
  });

  it("is done with a warning in mode warn, and without a word in mode audit", async () => {
    await govern({ add_block: { policyRuleURI: uriOf("deny"), mode: "warn" } });
    expect(await create("warned")).toMatchObject({
      status: 200,
      body: { warnings: ["add_block is not allowed by policy deny:1-s: not on my cluster"] },
    });
    await govern({ add_block: { policyRuleURI: uriOf("raise"), mode: "audit" } });
    const { status, body } = await create("audited");
    expect([status, "warnings" in body]).toEqual([200, false]);
  });

  it("is told by its key without asking the policy again, also when that had changed it", async () => {
    await govern({ add_block: uriOf("whole") });
    const first = await create("keyed", { idempotency_key: "k1" });
    await govern({ add_block: uriOf("deny") });
    const again = await create("keyed", { idempotency_key: "k1" });
    expect(again).toMatchObject({ status: 200 });
    expect(again.body.operation.operation_id).toBe(first.body.operation.operation_id);
    const other = await fleet.act({
      ...{ action: "create_block", idempotency_key: "k1" },
      block_data: block("keyed", { maxInstances: 2 }),
    });
    expect(other).toMatchObject({ status: 409, body: { reason: "ALREADY_EXISTS" } });
  });

  it("is governed as a downscale when it ends one instance", async () => {
    await create("ends");
    const [instance] = await instancesOf("ends");
    await govern({ scale_block: uriOf("one") });
    const act = { action: "remove_instance", block_id: "ends", force: true };
    expect(await fleet.act({ ...act, instance_id: instance?.instance_id })).toMatchObject({
      status: 403,
      body: { input_data: `down: ${instance?.instance_id}` },
    });
    const up = { action: "scale", operation: "scale", block_id: "ends", instances_count: 3 };
    expect(await fleet.act(up)).toMatchObject({ status: 200 });
    expect(await instancesOf("ends")).toHaveLength(2);
  });

  it("ends the one instance that was named, in the way that the policy says", async () => {
    await create("last");
    const [instance] = await instancesOf("last");
    const id = instance?.instance_id;
    const end = () => fleet.act({ action: "remove_instance", block_id: "last", instance_id: id });
    await govern({ scale_block: uriOf("swap") });
    expect(await end()).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining("instances_list: a policy cannot change it") },
    });
    await govern({ scale_block: uriOf("force") });
    expect(await end()).toMatchObject({ status: 200 });
    expect(await instancesOf("last")).toEqual([]);
  });

  it("moves no other instance than the one that was named", async () => {
    await create("stays");
    await govern({ block_mgmt: uriOf("another") });
    const move = { action: "reassign", blockId: "stays", instanceId: "in-1" };
    expect(await fleet.act(move)).toMatchObject({
      ...{ status: 400, body: { reason: "POLICY_FAILED" } },
    });
  });

  it("takes over the leases that its client names, of the holder that it names, whatever its policy says", async () => {
    const lease = { lease_id: "alices", subject: "alice", ttl_ms: 60_000, node_id: "node-a" };
    await fleet.call("POST", "/leases", { ...lease, cpu_millis: 10 });
    await govern({ add_block: uriOf("whole"), scale_block: uriOf("take") });
    const bobs = { lease_ids: ["alices"], lease_subject: "bob" };
    expect(await create("leased", bobs)).toMatchObject({
      ...{ status: 409, body: { message: "lease_ids.0: lease alices is not held by bob" } },
    });
    expect((await create("leased", { ...bobs, lease_subject: "alice" })).status).toBe(200);
    await fleet.call("POST", "/leases", { ...lease, cpu_millis: 10 });
    const up = { action: "scale", operation: "scale", block_id: "leased", instances_count: 2 };
    expect((await fleet.act(up)).status).toBe(200);
    expect(fleet.blocks.ledger.hold("alices")?.kind).toBe("lease");
  });

  it("is governed by block_mgmt when it changes a block's parameters, record or place", async () => {
    await create("managed");
    await govern({ block_mgmt: uriOf("shout") });
    const parameters = { action: "parameter_update", block_id: "managed", update_data: { a: 1 } };
    expect(await fleet.act(parameters)).toMatchObject({ status: 200 });
    expect((await fleet.call("PUT", "/block/update/managed", { tags: ["mine"] })).status).toBe(200);
    const { body } = await fleet.call("GET", "/blocks/managed");
    expect(body.data).toMatchObject({ parameters: { a: 1, by: "policy" }, tags: ["governed"] });
    const move = { action: "reassign", blockId: "managed", instanceId: "in-1" };
    expect(await fleet.act(move)).toMatchObject({ body: { input_data: "reassign-instances" } });
  });
});

describe("the cluster's document", () => {
  it("is updated as its policy says", async () => {
    await govern({ update_cluster: uriOf("region") });
    expect(await update({ $set: { regionId: "mine" } })).toMatchObject({
      body: { data: { regionId: "policy" } },
    });
    await govern({ update_cluster: uriOf("deny") });
    expect(await update({ $set: { regionId: "mine" } })).toMatchObject({ status: 403 });
    expect(fleet.agent.cluster.document().regionId).toBe("policy");
  });

  it("can be freed of a broken policy of its own updates, and of that alone", async () => {
    const broken = { update_cluster: uriOf("raise"), add_block: uriOf("deny") };
    await govern(broken);
    expect(await update({ "config.actionsPolicyMap": {} })).toMatchObject({ status: 403 });
    expect(await update({ regionId: "x" })).toMatchObject({ status: 403 });
    const freed = await update({ $unset: { "config.actionsPolicyMap.update_cluster": "" } });
    expect(freed).toMatchObject({
      ...{ status: 200, body: { warnings: [expect.stringContaining("gave no verdict")] } },
    });
    expect(freed.body.data.config.actionsPolicyMap).toEqual({ add_block: uriOf("deny") });
    await govern({ update_cluster: uriOf("deny") });
    expect(await update({ "config.actionsPolicyMap": {} })).toMatchObject({ status: 403 });
  });

  it("can be freed of a policy that changes its updates to what does not hold", async () => {
    await govern({ update_cluster: uriOf("text") });
    expect(await update({ regionId: "x" })).toMatchObject({
      ...{ status: 400, body: { reason: "POLICY_FAILED" } },
    });
    const freed = await update({ $set: { "config.actionsPolicyMap.update_cluster": "" } });
    expect(freed).toMatchObject({
      status: 200,
      body: { warnings: [expect.stringContaining("to what does not hold")] },
    });
    expect((await update({ regionId: "x" })).status).toBe(200);
  });

  it("keeps keys that name no pre-check, and says so", async () => {
    const map = { onScaleUp: "evaluate", add_node: null };
    const { body } = await update({ "config.actionsPolicyMap": map });
    expect(body.data.config.actionsPolicyMap).toEqual(map);
    expect(body.warnings).toEqual([expect.stringContaining("actionsPolicyMap.onScaleUp")]);
    const shown = await fleet.call("GET", "/prechecks");
    expect(shown.body.data).toMatchObject({
      hooks: { add_node: null },
      unknown_keys: ["onScaleUp"],
    });
    expect(await update({ "config.actionsPolicyMap.add_node": 7 })).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining("config.actionsPolicyMap.add_node") },
    });
  });
});
