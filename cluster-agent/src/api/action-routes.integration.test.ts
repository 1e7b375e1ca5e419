import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { until } from "../testing/fixtures.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";

const cleanup = new Cleanup();
let fleet: BlockAgent;

beforeEach(async () => {
  fleet = await startBlockAgent(cleanup);
  // Instances outlive their agent: what a test leaves is ended with it.
  cleanup.add(async () => {
    for (const { id } of fleet.blocks.book.blocks()) {
      await fleet.blocks.runtime.removeBlock(id, AbortSignal.timeout(20_000));
    }
  });
});
afterEach(() => cleanup.run());

const component = { containerRegistryInfo: { containerImage: "r/echo:1", command: ECHO_COMMAND } };
const block = (id: string, more: object = {}) => ({ id, component, ...more });
const gpuBlock = (id: string, gpus: number, more: object = {}) =>
  block(id, { resources: { gpus }, minInstances: 1, ...more });

const create = (block_data: object, more: object = {}) =>
  fleet.act({ action: "create_block", block_data, ...more });

async function instancesOf(id: string): Promise<{ instance_id: string; gpus: number[] }[]> {
  const { body } = await fleet.call("GET", `/blocks/${id}`);
  return body.data.instances;
}

const heldGpus = () =>
  fleet.blocks.ledger
    .node("node-a")
    .devices.flatMap(({ slot, state }) => (state === "free" ? [] : [slot]));

const allReady = (id: string, count: number) =>
  until(`${count} instances of ${id} to be ready`, async () => {
    const { body } = await fleet.call("GET", `/blocks/${id}`);
    return body.data.status.ready === count;
  });

describe("the life of a block", () => {
  it("is created with its least instances, shown, called, and removed without a trace", async () => {
    const created = await create(gpuBlock("echo", 1, { minInstances: 2 }));
    expect(created).toMatchObject({
      status: 200,
      body: { success: true, data: "Action performed", operation: { state: "done" } },
    });
    await allReady("echo", 2);
    const { body } = await fleet.call("GET", "/blocks/echo");
    expect(body.data).toMatchObject({ cluster: { id: "c1" }, status: { phase: "running" } });
    const [one] = body.data.instances;
    const answer = await fetch(new URL("/infer", one.endpoints.control), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: "hello" }),
    });
    expect(JSON.stringify(await answer.json())).toContain("hello");
    expect(heldGpus()).toEqual([0, 1]);
    expect(await fleet.act({ action: "remove_block", data: { block_id: "echo" } })).toMatchObject({
      status: 200,
      body: { success: true, data: "Action performed" },
    });
    expect(heldGpus()).toEqual([]);
    expect((await fleet.call("GET", "/blocks/echo")).status).toBe(404);
    expect(await fleet.blocks.runtime.observe(AbortSignal.timeout(5_000))).toEqual({
      blockIds: [],
      instances: [],
    });
  });

  it("is scaled up by its own choice or the client's, and down by a list, within its bounds", async () => {
    await create(gpuBlock("echo", 1, { maxInstances: 3 }));
    const scaled = { action: "scale", operation: "scale", block_id: "echo" };
    expect(await fleet.act({ ...scaled, instances_count: 1 })).toMatchObject({
      body: { success: true, data: "scaled instances" },
    });
    const given = [{ node_id: "node-a", gpu_ids: ["3"] }];
    expect(
      (await fleet.act({ ...scaled, instances_count: 1, allocation_data: given })).status,
    ).toBe(200);
    expect(heldGpus()).toEqual([0, 1, 3]);
    expect(await fleet.act({ ...scaled, instances_count: 1 })).toMatchObject({
      status: 400,
      body: {
        success: false,
        reason: "PRECONDITION_FAILED",
        data: expect.stringContaining("maxInstances 3"),
      },
    });
    const down = { action: "scale", operation: "downscale", block_id: "echo" };
    const [first, ...others] = await instancesOf("echo");
    const both = others.map(({ instance_id }) => instance_id);
    expect((await fleet.act({ ...down, instances_list: both })).status).toBe(200);
    expect(await instancesOf("echo")).toMatchObject([{ instance_id: first?.instance_id }]);
    expect(heldGpus()).toHaveLength(1);
    const last = { action: "remove_instance", block_id: "echo", instance_id: first?.instance_id };
    expect(await fleet.act(last)).toMatchObject({
      status: 400,
      body: { reason: "PRECONDITION_FAILED" },
    });
    expect(await fleet.act({ ...last, force: true })).toMatchObject({
      body: { data: "Action performed" },
    });
    expect(heldGpus()).toEqual([]);
  });

  it("takes new parameters into its record and its instances, with numbers as they were written", async () => {
    await create(block("echo", { parameters: { keep: 1 } }));
    await allReady("echo", 1);
    const update =
      '{"action":"parameter_update","block_id":"echo","update_data":{"temperature":0.70}}';
    const answer = await fleet.agent.http.inject({
      ...{ method: "POST", url: "/executeAction", payload: update },
      headers: { host: "localhost", "content-type": "application/json" },
    });
    const [instance] = await instancesOf("echo");
    expect(answer.json().data[instance?.instance_id ?? ""]).toMatchObject({ success: true });
    const shown = await fleet.agent.http.inject({
      url: "/blocks/echo",
      headers: { host: "localhost" },
    });
    expect(shown.payload).toContain('"parameters":{"keep":1,"temperature":0.70}');
  });

  it.each(["reassign-instances", "reassign"])(
    "moves an instance by %s: first the new one, then the old",
    async (action) => {
      await create(gpuBlock("echo", 2));
      await allReady("echo", 1);
      const [old] = await instancesOf("echo");
      const moved = await fleet.act({ action, blockId: "echo", instanceId: old?.instance_id });
      expect(moved).toMatchObject({ status: 200, body: { data: "Action performed" } });
      const [now, ...more] = await instancesOf("echo");
      expect(more).toEqual([]);
      expect(now?.instance_id).not.toBe(old?.instance_id);
      expect(now?.gpus).toEqual([2, 3]);
      expect(heldGpus()).toEqual([2, 3]);
    },
  );
});

describe("GPUs", () => {
  it("that are taken are told in the cluster document, and free again after", async () => {
    const states = async () => {
      const { body } = await fleet.call("GET", "/cluster-actions/get-cluster");
      const [node] = body.data.nodes.nodeData;
      return [node.free_gpus, ...node.gpus.gpus.map(({ state }: { state: string }) => state)];
    };
    await create(gpuBlock("echo", 3));
    await until("the document to tell", async () => (await states())[0] === 1);
    expect(await states()).toEqual([1, "allocated", "allocated", "allocated", "free"]);
    await fleet.act({ action: "remove_block", block_id: "echo" });
    await until("the document to tell", async () => (await states())[0] === 4);
  });

  it("are never given twice to callers of the same moment", async () => {
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, at) => create(gpuBlock(`b${at}`, 1))),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(4);
    for (const { body } of answers.filter(({ status }) => status !== 200)) {
      expect(body).toMatchObject({ reason: "CONFLICT", unschedulable: true });
      expect(body.reasons[0]).toContain("node node-a has 0 free GPUs, 1 was asked for");
    }
    const holders = fleet.blocks.ledger
      .node("node-a")
      .devices.map((device) => device.holders.length);
    expect(holders).toEqual([1, 1, 1, 1]);
    const { body } = await fleet.call("GET", "/blocks");
    expect(body.data).toHaveLength(4);
    for (const one of body.data) await fleet.act({ action: "remove_block", block_id: one.id });
    expect((await fleet.call("GET", "/allocations")).body.data).toEqual([]);
  });

  it("of a block that was refused are free, and nothing of it is left", async () => {
    const refused = await create(gpuBlock("echo", 2, { minInstances: 3 }));
    expect(refused).toMatchObject({ status: 409, body: { reason: "CONFLICT" } });
    expect(refused.body.message).toContain("no place for instance 3 of 3");
    expect(heldGpus()).toEqual([]);
    expect((await fleet.call("GET", "/blocks")).body.data).toEqual([]);
    expect(await create(gpuBlock("echo", 4))).toMatchObject({ status: 200 });
  });
});

describe("a dry run", () => {
  it("scores the cluster and says where an instance would go, and takes nothing", async () => {
    const dry = (fields: object) => fleet.act({ action: "dry_run", ...fields });
    const first = { node_id: "node-a", gpus: ["0", "1"] };
    expect(await dry({ block_data: gpuBlock("echo", 2) })).toEqual({
      status: 200,
      body: {
        success: true,
        data: { selection_score_data: { score: 1, node_info: first, placements: [first] } },
      },
    });
    await create(gpuBlock("echo", 3));
    const last = { node_id: "node-a", gpus: ["3"] };
    expect((await dry({ inputs: gpuBlock("other", 1) })).body.data).toEqual({
      selection_score_data: { score: 0.25, node_info: last, placements: [last] },
    });
    expect((await dry({ data: { block_data: gpuBlock("other", 2) } })).body.data).toMatchObject({
      selection_score_data: { score: 0, node_info: {}, reasons: [expect.any(String)] },
    });
    expect(heldGpus()).toEqual([0, 1, 2]);
  });
});

describe("requests", () => {
  it("answer as soon as they are accepted when they are asked to, and are the same by their key", async () => {
    const fields = { wait: false, idempotency_key: "once" };
    const accepted = await create(gpuBlock("echo", 1), fields);
    expect(accepted).toMatchObject({
      status: 202,
      body: { success: true, data: { state: "running" } },
    });
    const id = accepted.body.data.operation_id;
    await until("the operation to be done", async () => {
      return (await fleet.call("GET", `/operations/${id}`)).body.data.state === "done";
    });
    const again = await create(gpuBlock("echo", 1), { idempotency_key: "once" });
    expect(again).toMatchObject({ status: 200, body: { operation: { operation_id: id } } });
    expect(await create(gpuBlock("echo", 2), fields)).toMatchObject({ status: 409 });
    expect((await fleet.call("GET", "/operations?block_id=echo")).body.data).toHaveLength(1);
  });

  it("that differ are different operations, whatever their key", async () => {
    await create(block("echo"));
    const scale = { action: "scale", operation: "scale", block_id: "echo", idempotency_key: "k" };
    expect((await fleet.act({ ...scale, instances_count: 1 })).status).toBe(200);
    expect((await fleet.act({ ...scale, instances_count: 1 })).status).toBe(200);
    expect((await fleet.act({ ...scale, instances_count: 2 })).status).toBe(409);
    expect((await fleet.act({ ...scale, instances_count: 1, init_data: [{ a: 1 }] })).status).toBe(
      409,
    );
    expect(await instancesOf("echo")).toHaveLength(2);
  });

  it("take a time that is written as a float", async () => {
    const payload = '{"action":"remove_block","block_id":"none","timeout_ms":10.0}';
    const headers = { host: "localhost", "content-type": "application/json" };
    const request = { method: "POST", url: "/executeAction", payload, headers } as const;
    expect((await fleet.agent.http.inject(request)).statusCode).not.toBe(500);
  });

  it.each<[object, number, RegExp]>([
    [{}, 400, /action: expected a text/],
    [{ action: "remove_block", block_id: "b", timeout_ms: null }, 400, /timeout_ms/],
    [{ action: "remove_block", block_id: "b", timeout_ms: true }, 400, /timeout_ms/],
    [{ action: "nope" }, 400, /^Unknown action: nope$/],
    [{ action: "create_block" }, 400, /block_data: expected an object, got nothing/],
    [{ action: "create_block", block_data: { id: "A" } }, 400, /^block_data\.id: /],
    [{ action: "create_block", block_data: { id: "a" } }, 400, /the component names no program/],
    [
      {
        action: "create_block",
        block_data: { id: "a", component: { containerRegistryInfo: { containerImage: "i" } } },
      },
      400,
      /container image only.*containerRegistryInfo.command/,
    ],
    [
      { action: "create_block", block_data: block("a", { minInstances: 2, maxInstances: 1 }) },
      400,
      /minInstances/,
    ],
    [
      { action: "create_block", block_data: block("a"), cluster_id: "other" },
      400,
      /cluster_id: this is cluster "c1"/,
    ],
    [
      { action: "create_block", block_data: block("a"), data: [] },
      400,
      /data: expected an object, got array/,
    ],
    [
      { action: "create_block", block_data: block("a"), wait: "no" },
      400,
      /wait: expected true or false/,
    ],
    [{ action: "create_block", block_data: block("a"), timeout_ms: -1 }, 400, /timeout_ms/],
    [
      { action: "create_block", block_data: block("a"), idempotency_key: "" },
      400,
      /idempotency_key/,
    ],
    [{ action: "remove_block" }, 400, /block_id: expected an id, got nothing/],
    [{ action: "remove_block", block_id: "none" }, 404, /no block "none"/],
    [
      { action: "scale", block_id: "none", operation: "scale", instances_count: 1 },
      404,
      /no block "none"/,
    ],
    [
      { action: "scale", block_id: "none", operation: "up" },
      400,
      /operation: expected "scale" or "downscale", got "up"/,
    ],
    [{ action: "scale", block_id: "b", operation: "scale" }, 400, /instances_count/],
    [
      {
        action: "scale",
        block_id: "b",
        operation: "scale",
        instances_count: 2,
        allocation_data: [{ node_id: "n" }],
      },
      400,
      /allocation_data: expected 2 placements/,
    ],
    [
      { action: "scale", block_id: "b", operation: "downscale", instances_list: [] },
      400,
      /instances_list/,
    ],
    [{ action: "remove_instance", block_id: "none", instance_id: "i" }, 404, /no block "none"/],
    [
      { action: "parameter_update", block_id: "none", update_data: {} },
      400,
      /update_data: expected a non-empty/,
    ],
    [
      { action: "parameter_update", block_id: "none", update_data: { a: 1 } },
      404,
      /no block "none"/,
    ],
    [{ action: "reassign", blockId: "none", instanceId: "i" }, 404, /no block "none"/],
    [{ action: "dry_run" }, 400, /block_data: expected an object/],
    [{ action: "init_create_status_update" }, 501, /comes with a later version/],
  ])("that do not hold are refused by name: %j", async (fields, status, message) => {
    const answer = await fleet.act(fields);
    expect({ status: answer.status, success: answer.body.success }).toEqual({
      status,
      success: false,
    });
    expect(answer.body.message).toMatch(message);
    // The existing deployment's clients read it there.
    expect(answer.body.data).toBe(answer.body.message);
    expect(heldGpus()).toEqual([]);
  });

  it("for places that cannot be taken are refused by name", async () => {
    await create(gpuBlock("echo", 1, { minInstances: 1 }));
    const scale = (allocation: object) =>
      fleet.act({
        ...{ action: "scale", operation: "scale", block_id: "echo", instances_count: 1 },
        allocation_data: [allocation],
      });
    expect(await scale({ node_id: "node-x", gpu_ids: [0] })).toMatchObject({ status: 404 });
    const unknown = await scale({ node_id: "node-a", gpu_ids: [7] });
    expect(unknown).toMatchObject({ status: 400 });
    expect(unknown.body.message).toContain(
      "allocation_data.0.gpu_ids.0: node node-a has GPUs 0 to 3, not 7",
    );
    const taken = await scale({ node_id: "node-a", gpus: ["GPU-0"] });
    expect(taken).toMatchObject({ status: 409, body: { device_uuids: ["GPU-0"] } });
    expect(await instancesOf("echo")).toHaveLength(1);
  });
});
