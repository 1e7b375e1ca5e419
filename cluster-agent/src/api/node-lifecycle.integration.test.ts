import { ConnectError } from "@connectrpc/connect";
import { afterEach, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { until } from "../testing/fixtures.ts";
import { ECHO_COMMAND } from "../testing/local-processes.ts";
import {
  NODE_A,
  NODE_B,
  type NodesAgent,
  startNodesAgent,
  type TestNode,
} from "../testing/two-nodes.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

/** Agents that run. */
const running = new Set<NodesAgent>();

const component = { containerRegistryInfo: { command: ECHO_COMMAND } };
const block = (id: string, gpus: number, more: object = {}) => ({
  ...{ id, component, resources: { gpus, cpuMillis: 10 }, ...more },
});

/** An agent with these nodes, whose instances end with the test. */
async function fleetOf(nodes: readonly TestNode[], dataDir?: string): Promise<NodesAgent> {
  const fleet = await startNodesAgent(cleanup, dataDir === undefined ? {} : { dataDir });
  running.add(fleet);
  cleanup.add(async () => {
    if (!running.delete(fleet)) return;
    for (const { id } of fleet.blocks.book.blocks()) {
      await fleet.blocks.runtime.removeBlock(id, AbortSignal.timeout(20_000));
    }
  });
  for (const node of nodes) await fleet.join(node);
  const { ledger } = fleet.blocks;
  await until("the ledger to open", () => ledger.status.state === "open");
  return fleet;
}

const create = async (fleet: NodesAgent, block_data: object) => {
  const answer = await fleet.act({ action: "create_block", block_data });
  expect(answer).toMatchObject({ status: 200 });
};
const placesOf = async (fleet: NodesAgent, id: string): Promise<string[]> => {
  const { body } = await fleet.call("GET", `/blocks/${id}`);
  return body.data.instances.map(({ node_id }: { node_id: string }) => node_id).sort();
};
const stateOf = async (fleet: NodesAgent, id: string) =>
  (await fleet.call("GET", `/nodes/${id}`)).body.data?.state;
const refusal = (joining: Promise<void>): Promise<string> =>
  joining.then(
    () => "",
    (thrown: unknown) => ConnectError.from(thrown).message,
  );
const remove = (fleet: NodesAgent, id: string, query = "") =>
  fleet.call("DELETE", `/controller/cluster-actions/remove-node/${id}${query}`);

describe("onboarding a node", () => {
  it("makes it expected, and only its agent's join makes it ready", async () => {
    const fleet = await fleetOf([NODE_A]);
    const entry = { id: "node-b", tags: ["gpu"], nodeMetadata: { rack: "R12", weight: 1.5 } };
    const added = await fleet.call("POST", "/cluster-actions/add-node", entry);
    expect(added).toMatchObject({
      status: 200,
      body: { data: { id: "c1", nodes: { count: 1 } }, node: { id: "node-b", state: "expected" } },
    });
    const listed = await fleet.call("GET", "/nodes");
    expect(listed.body.data).toMatchObject([
      { id: "node-a", state: "ready", liveness: "live" },
      { id: "node-b", state: "expected", liveness: null, node_data: { tags: ["gpu"] } },
    ]);
    await fleet.join(NODE_B);
    expect(await stateOf(fleet, "node-b")).toBe("ready");
    const { body } = await fleet.call("GET", "/cluster-actions/get-cluster");
    expect(body.data.nodes.nodeData[1]).toMatchObject({
      ...{ id: "node-b", tags: ["gpu"], free_gpus: 2 },
      nodeMetadata: { rack: "R12", weight: 1.5, hostname: expect.any(String) },
    });
  });

  it.each([
    [{}, "Invalid node data"],
    [{ id: "Node B" }, "id: "],
    [{ id: "n", tags: "gpu" }, "tags: expected array"],
    [{ id: "n", gpus: { count: -1 } }, "gpus.count"],
    [{ id: "n", clusterId: "other" }, 'clusterId: this is cluster "c1"'],
    [{ node_data: 7 }, "Invalid node data"],
  ])("is refused for %j", async (entry, message) => {
    const fleet = await startNodesAgent(cleanup);
    const answer = await fleet.call("POST", "/cluster-actions/add-node", entry);
    expect(answer).toMatchObject({ status: 400, body: { reason: "INVALID_ARGUMENT" } });
    expect(answer.body.message).toContain(message);
  });
});

describe("a cordoned node", () => {
  it("gets nothing new, keeps what it has, and is shown so", async () => {
    const fleet = await fleetOf([NODE_A, NODE_B]);
    await create(fleet, block("old", 2, { minInstances: 2 }));
    const answer = await fleet.call("POST", "/cluster-actions/cordon-node/node-b", {});
    expect(answer).toMatchObject({ status: 200, body: { node: { state: "cordoned" } } });
    expect(await placesOf(fleet, "old")).toEqual(["node-a", "node-b"]);
    await fleet.act({ action: "remove_block", block_id: "old" });
    const shown = async () => {
      const { body } = await fleet.call("GET", "/cluster-actions/get-cluster");
      const [, { free_gpus, gpus, nodeMetadata }] = body.data.nodes.nodeData;
      const states = gpus.gpus.map(({ state }: { state: string }) => state);
      return { free_gpus, states, lifecycle: nodeMetadata.lifecycle };
    };
    const states = ["cordoned", "cordoned"];
    await expect.poll(shown).toEqual({ free_gpus: 0, states, lifecycle: "cordoned" });
    expect((await fleet.call("GET", "/healthy_nodes")).body.nodes).toEqual(["node-a"]);
    const both = { action: "create_block", block_data: block("new", 2, { minInstances: 2 }) };
    expect(await fleet.act(both)).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining("node-b: cordoned") },
    });
    await fleet.call("POST", "/cluster-actions/uncordon-node/node-b");
    expect(await fleet.act(both)).toMatchObject({ status: 200 });
  });
});

describe("removing a node", () => {
  it("moves what runs there, forgets it, and refuses it until it is onboarded again", async () => {
    const fleet = await fleetOf([NODE_A]);
    await create(fleet, block("echo", 1, { minInstances: 2 }));
    await fleet.join(NODE_B);
    const removed = await remove(fleet, "node-a");
    expect(removed).toMatchObject({
      status: 200,
      body: {
        data: { id: "c1", nodes: { count: 1, nodeData: [{ id: "node-b" }] } },
        operation: { action: "remove-node", block_id: "node/node-a", state: "done" },
      },
    });
    expect(removed.body.operation.result).toEqual({ node_id: "node-a", moved: 2, ended: 0 });
    expect(await placesOf(fleet, "echo")).toEqual(["node-b", "node-b"]);
    expect(await stateOf(fleet, "node-a")).toBe("removed");
    expect((await remove(fleet, "node-a")).status).toBe(404);
    // Its key has ended with it.
    expect(await refusal(fleet.join(NODE_A))).toContain("not enrolled");
    await fleet.call("POST", "/cluster-actions/add-node", { id: "node-a" });
    expect(await stateOf(fleet, "node-a")).toBe("expected");
  });

  it("refuses a removed node that enrols again", async () => {
    const fleet = await fleetOf([NODE_A, NODE_B]);
    expect((await remove(fleet, "node-b")).status).toBe(200);
    expect(await refusal(fleet.join(NODE_B))).toContain(
      'node "node-b" was removed; it is let in again after POST /cluster-actions/add-node',
    );
    await fleet.call("POST", "/cluster-actions/add-node", { id: "node-b" });
    await fleet.join(NODE_B);
    expect(await stateOf(fleet, "node-b")).toBe("ready");
  });

  it("leaves a node cordoned that cannot be emptied in time, and says what is there and why", async () => {
    const fleet = await fleetOf([NODE_A]);
    await create(fleet, block("echo", 1));
    const answer = await remove(fleet, "node-a", "?timeout_ms=1500");
    expect(answer).toMatchObject({
      status: 504,
      body: {
        reason: "DEADLINE_EXCEEDED",
        instances: [{ block_id: "echo", why: expect.stringContaining("no place") }],
      },
    });
    expect(answer.body.message).toContain("stays cordoned: echo/in-");
    expect(await stateOf(fleet, "node-a")).toBe("cordoned");
    expect(await placesOf(fleet, "echo")).toEqual(["node-a"]);
  });

  it("ends by force what could not be moved", async () => {
    const fleet = await fleetOf([NODE_A]);
    await create(fleet, block("echo", 1));
    const answer = await remove(fleet, "node-a", "?timeout_ms=500&force=true");
    expect(answer).toMatchObject({ status: 200, body: { data: { nodes: { count: 0 } } } });
    expect(answer.body.operation.result).toEqual({ node_id: "node-a", moved: 0, ended: 1 });
    expect(await placesOf(fleet, "echo")).toEqual([]);
  });

  it("goes on after a restart in its midst, and moves nothing twice", async () => {
    const dataDir = await cleanup.directory();
    const first = await fleetOf([NODE_A], dataDir);
    await create(first, block("echo", 1, { minInstances: 2 }));
    const begun = await remove(first, "node-a", "?wait=false&idempotency_key=k");
    expect(begun).toMatchObject({ status: 202 });
    const id = begun.body.data.operation_id;
    await until("a move to be tried", () => first.blocks.operationBook.list().length > 2);
    running.delete(first);
    await first.agent.stop();
    const second = await fleetOf([NODE_A, NODE_B], dataDir);
    expect(await stateOf(second, "node-a")).toBe("draining");
    const again = await remove(second, "node-a", "?idempotency_key=k");
    expect(again).toMatchObject({ status: 200, body: { operation: { operation_id: id } } });
    expect(await placesOf(second, "echo")).toEqual(["node-b", "node-b"]);
    expect(second.blocks.ledger.holds({ kind: "allocation" })).toHaveLength(2);
    expect(await stateOf(second, "node-a")).toBe("removed");
  });

  it.each([
    "/cluster-actions/remove-node/nobody",
    "/controller/cluster-actions/remove-node/nobody",
  ])("that nobody knows is refused in the words of the existing deployment: %s", async (url) => {
    const fleet = await startNodesAgent(cleanup);
    expect(await fleet.call("DELETE", url)).toMatchObject({
      status: 404,
      body: { success: false, message: "Node nobody not found in cluster" },
    });
  });

  it("is refused as a mere deletion while something runs there, unless it is forced", async () => {
    const fleet = await fleetOf([NODE_A]);
    await create(fleet, block("echo", 1));
    expect(await fleet.call("DELETE", "/nodes/node-a")).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining("remove-node/node-a moves them") },
    });
    expect((await fleet.call("DELETE", "/nodes/node-a?force=true")).status).toBe(200);
    expect((await fleet.call("GET", "/nodes/node-a")).status).toBe(404);
  });
});
