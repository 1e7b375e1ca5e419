import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { until } from "../testing/fixtures.ts";
import { script } from "../testing/local-processes.ts";
import { NODE_A, NODE_B, type NodesAgent, startNodesAgent } from "../testing/two-nodes.ts";

/** Ready on node-a and never elsewhere. */
const CODE = `
  require("node:http").createServer((request, response) => {
    response.writeHead(process.env.NODE_ID === "node-a" ? 200 : 503).end("{}");
  }).listen(process.env.BERTH_CONTROL_PORT, "127.0.0.1");`;

const cleanup = new Cleanup();
let fleet: NodesAgent;

beforeEach(async () => {
  fleet = await startNodesAgent(cleanup);
  cleanup.add(async () => {
    await fleet.blocks.runtime.removeBlock("b", AbortSignal.timeout(20_000)).catch(() => undefined);
  });
  await fleet.join(NODE_A);
  await until("the ledger to open", () => fleet.blocks.ledger.status.state === "open");
  const component = { containerRegistryInfo: { command: script(CODE) } };
  const resources = { gpus: 0, cpuMillis: 10, memoryMiB: 16 };
  const block_data = { id: "b", component, resources, minInstances: 2 };
  expect((await fleet.act({ action: "create_block", block_data })).status).toBe(200);
  await until("all to be ready", async () => (await placesOf()).every(({ ready }) => ready));
});
afterEach(() => cleanup.run());

interface Place {
  readonly node_id: string;
  readonly ready: boolean;
}

async function placesOf(): Promise<readonly Place[]> {
  return (await fleet.call("GET", "/blocks/b")).body.data.instances;
}
const remove = (query: string) =>
  fleet.call("DELETE", `/cluster-actions/remove-node/node-a?${query}`);
const moves = () =>
  fleet.blocks.operationBook.list().filter(({ action }) => action === "reassign-instances");

/** A removal that cannot come to its end, in the midst of its first move; gives its id. */
async function beginRemoval(): Promise<string> {
  await fleet.join(NODE_B);
  const { status, body } = await remove("timeout_ms=3600000&wait=false");
  expect(status).toBe(202);
  await until("a move to go on", async () => (await placesOf()).length === 3);
  return body.data.operation_id;
}

describe("a removal of a node that cannot be emptied", () => {
  it("stops when the node is uncordoned, and nothing of it goes on", async () => {
    const id = await beginRemoval();
    const answer = await fleet.call("POST", "/cluster-actions/uncordon-node/node-a", {});
    expect(answer).toMatchObject({ status: 200, body: { node: { state: "ready" } } });
    const { operations, operationBook } = fleet.blocks;
    expect(await operations.settled(id, AbortSignal.timeout(10_000))).toMatchObject({
      ...{ state: "failed", error: { reason: "CONFLICT" } },
    });
    await until("its move to be over", () => moves().every(({ state }) => state === "failed"));
    expect(operationBook.list().filter(({ state }) => state === "running")).toEqual([]);
    const ready = { node_id: "node-a", ready: true };
    expect(await placesOf()).toMatchObject([ready, ready]);
    expect((await fleet.call("GET", "/nodes/node-a")).body.data.state).toBe("ready");
  });

  it("makes way for one by force, which ends all at once", async () => {
    const id = await beginRemoval();
    const forced = await remove("timeout_ms=0&force=true");
    expect(forced).toMatchObject({ status: 200, body: { operation: { state: "done" } } });
    expect(forced.body.operation.result).toEqual({ node_id: "node-a", moved: 0, ended: 2 });
    expect(fleet.blocks.operationBook.get(id)?.state).toBe("failed");
    await until("its move to be over", () => moves().every(({ state }) => state === "failed"));
    expect(await placesOf()).toEqual([]);
    expect(fleet.blocks.ledger.holds({ kind: "allocation" })).toEqual([]);
  });
});

describe("an instance that is in no record", () => {
  it.each(["its instance", "its block"])("is ended by itself: %s is forgotten", async (what) => {
    const { book, ledger } = fleet.blocks;
    const [{ instanceId } = { instanceId: "" }] = book.instances("b");
    if (what === "its block") await book.remove("b");
    else await book.removeInstance("b", instanceId);
    const end = { action: "remove_instance", block_id: "b", instance_id: instanceId };
    expect(await fleet.act(end)).toMatchObject({ status: 200 });
    expect(ledger.holds({ kind: "allocation", blockId: "b" })).toHaveLength(1);
    const { instances } = await fleet.blocks.runtime.observe(AbortSignal.timeout(5_000));
    expect(instances.map((one) => one.instanceId)).not.toContain(instanceId);
    expect(await fleet.act(end)).toMatchObject({ status: 404 });
  });
});
