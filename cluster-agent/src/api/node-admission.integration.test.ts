import { type DocumentStore, openSqliteDocumentStore } from "@berth/service-kit";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cleanup } from "../testing/agent.ts";
import { knowPolicy } from "../testing/policies.ts";
import { NODE_A, NODE_B, type NodesAgent, startNodesAgent } from "../testing/two-nodes.ts";

const cleanup = new Cleanup();
let fleet: NodesAgent;
let store: DocumentStore;

const RACKED = [
  'node = input_data["node_data"]',
  'if "rack" not in node["nodeMetadata"]:',
  '    return {"allowed": False, "input_data": "node " + node["id"] + " has no rack"}',
  'node["tags"] = ["racked", str(node["gpus"]["count"])]',
  'return {"allowed": True, "input_data": input_data}',
];

beforeAll(async () => {
  const openStore: typeof openSqliteDocumentStore = (...given) => {
    store = openSqliteDocumentStore(...given);
    return store;
  };
  fleet = await startNodesAgent(cleanup, { options: { openStore } });
  await knowPolicy(store, "racked:1-s", RACKED);
  await fleet.agent.cluster.update({ "config.actionsPolicyMap": { add_node: "racked:1-s" } });
}, 60_000);
afterAll(() => cleanup.run());

const failure = (joining: Promise<void>): Promise<ConnectError> =>
  joining.then(
    () => Promise.reject(new Error("the join was expected to fail")),
    (thrown: unknown) => ConnectError.from(thrown),
  );

describe("a node's first join", () => {
  it("is refused with the policy's reason, in a way that its agent tries again, and told once", async () => {
    for (let time = 0; time < 2; time += 1) {
      const refused = await failure(fleet.join(NODE_A));
      expect(refused.code).toBe(Code.FailedPrecondition);
      expect(refused.rawMessage).toBe(
        "add_node is not allowed by policy racked:1-s: node node-a has no rack",
      );
    }
    expect(fleet.agent.nodes.view("node-a")).toBeUndefined();
    const { body } = await fleet.call("GET", "/prechecks/verdicts?hook=add_node");
    expect(body.data).toMatchObject([{ about: "node/node-a", verdict: "denied", times: 2 }]);
  });

  it("is let in with what was said of it when it was onboarded, as the policy has changed that", async () => {
    const denied = await fleet.call("POST", "/cluster-actions/add-node", {
      ...{ id: "node-a", gpus: { count: 2 }, nodeMetadata: {} },
    });
    expect(denied).toMatchObject({ status: 403, body: { reason: "PRECHECK_DENIED" } });
    const added = await fleet.call("POST", "/cluster-actions/add-node", {
      ...{ id: "node-a", gpus: { count: 9 }, nodeMetadata: { rack: "R1" } },
    });
    expect(added.body.node).toMatchObject({ node_data: { tags: ["racked", "9"] } });
    await fleet.join(NODE_A);
    const [node] = fleet.agent.cluster.document().nodes.nodeData;
    expect(node).toMatchObject({ tags: ["racked", "2"], nodeMetadata: { rack: "R1" } });
  });

  it("is asked about as its agent observes it, also when Kubernetes has made the node ready before", async () => {
    const id = "node-c";
    const entry = { id, gpus: { count: 0 }, nodeMetadata: { rack: "R2" } };
    await fleet.call("POST", "/cluster-actions/add-node", entry);
    await fleet.agent.nodes.takeReported([
      {
        ...{ nodeId: id, name: id, isReady: true, cpuMillis: 1_000, memoryMiB: 64, storageMiB: 0 },
        ...{ osRelease: "", kernelRelease: "", architecture: "" },
      },
    ]);
    const tagsOf = () =>
      fleet.agent.cluster.document().nodes.nodeData.find((node) => node.id === id)?.tags;
    expect(tagsOf()).toEqual(["racked", "0"]);
    await fleet.join({ id, gpus: ["C-0", "C-1", "C-2"] });
    expect(tagsOf()).toEqual(["racked", "3"]);
  });

  it("is the only one that is asked about: a node that is known joins without", async () => {
    const before = await fleet.call("GET", "/prechecks/verdicts");
    await fleet.join(NODE_A);
    expect((await fleet.call("GET", "/prechecks/verdicts")).body).toEqual(before.body);
  });

  it("is free where no policy governs it", async () => {
    await fleet.agent.cluster.update({ "config.actionsPolicyMap": {} });
    await fleet.join(NODE_B);
    expect(fleet.agent.nodes.view("node-b")?.liveness).toBe("live");
  });
});
