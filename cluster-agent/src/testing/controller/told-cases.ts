import { describe, expect, it } from "vitest";
import type { ControllerClient as Client } from "./controller-client.ts";
import { refusal } from "./failure.ts";

/** Routes of the seed that come with a later version, below every prefix that answers. */
const LATER = [
  ["GET", "/check_stability", ""],
  ["GET", "/check_stability", "/controller"],
  ["POST", "/mgmt", ""],
  ["POST", "/mgmt", "/mgmt"],
  ["POST", "/vdag-controller", ""],
  ["POST", "/vdag-controller", "/controller"],
] as const;

/** What the controller tells of its nodes and its ledger, and routes that come later. */
export function toldCases(client: Client): void {
  describe.each(["", "/controller"])("the dynamic infra scanner's API below '%s'", (prefix) => {
    it("tells which nodes are healthy, and how all of them are", async () => {
      const { nodeId } = client;
      expect(await client.call("GET", `${prefix}/healthy_nodes`)).toEqual({
        ...{ status: 200, body: { success: true, nodes: [nodeId] } },
      });
      const { status, body } = await client.call("GET", `${prefix}/nodes_status`);
      expect([status, body.success]).toEqual([200, true]);
      expect(body.nodes_status).toMatchObject([{ node_id: nodeId }]);
    });
  });

  documentCases(client);
  metricsCases(client);
  it.each(LATER)(
    "answers %s %s below '%s' with 501 and says why",
    async (method, route, prefix) => {
      const body = method === "POST" ? {} : undefined;
      expect(await client.call(method, `${prefix}${route}`, body)).toMatchObject(
        refusal(501, "UNIMPLEMENTED", `^${route} comes with a later version of Berth$`),
      );
    },
  );

  it.each([
    ["GET", "/executeAction"],
    ["POST", "/cluster-actions/k8s-objects/create"],
    ["GET", "/nothing"],
  ] as const)("answers %s %s, which is no route, with 404", async (method, url) => {
    const body = method === "POST" ? {} : undefined;
    expect(await client.call(method, url, body)).toMatchObject(
      refusal(404, "NOT_FOUND", `^no route ${method} `),
    );
  });
}

function documentCases(client: Client): void {
  it("tells who holds what", async () => {
    await client.create("b1");
    const [instance] = await client.instances("b1");
    const ledger = await client.call("GET", "/ledger");
    expect(ledger.body).toMatchObject({ success: true, data: { state: "open", holds: 1 } });
    const held = { block_id: "b1", instance_id: instance.instance_id, node_id: client.nodeId };
    for (const query of ["", "?block_id=b1", `?node_id=${client.nodeId}`]) {
      const { body } = await client.call("GET", `/allocations${query}`);
      expect(body).toMatchObject({ success: true, data: [{ ...held, orphan: false }] });
    }
    expect((await client.call("GET", "/allocations?block_id=none")).body.data).toEqual([]);
    expect(await client.call("GET", "/allocations?colour=red")).toMatchObject(
      refusal(400, "INVALID_ARGUMENT", /^colour/),
    );
  });

  it("tells its nodes one by one", async () => {
    const { nodeId } = client;
    expect((await client.call("GET", "/nodes")).body).toMatchObject({
      ...{ success: true, data: [{ id: nodeId, state: "ready", liveness: "live" }] },
    });
    expect((await client.call("GET", `/nodes/${nodeId}`)).body.data.id).toBe(nodeId);
    for (const url of ["/nodes/nobody", "/nodes/nobody/duplicates"]) {
      expect(await client.call("GET", url)).toMatchObject(refusal(404, "NOT_FOUND", /nobody/));
    }
    expect(await client.call("GET", "/nodes?state=asleep")).toMatchObject(
      refusal(400, "INVALID_ARGUMENT", /^state/),
    );
  });
}

function metricsCases(client: Client): void {
  it.each(["", "/metrics", "/metrics/metrics"])(
    "tells metrics in the existing shapes below '%s'",
    async (prefix) => {
      const { nodeId } = client;
      const cluster = await client.call("GET", `${prefix}/cluster`);
      expect(cluster).toMatchObject({
        status: 200,
        body: { success: true, data: { cluster_metrics: {}, node_metrics: [{}] } },
      });
      const node = { nodeId, clusterId: "c1", type: "hardware" };
      expect((await client.call("GET", `${prefix}/node/${nodeId}`)).body.data).toMatchObject([
        node,
      ]);
      expect((await client.call("GET", `${prefix}/node/nobody`)).body.data).toEqual([]);
      const asked = await client.call("POST", `${prefix}/node/query`, { nodeId });
      expect(asked.body.data).toMatchObject([node]);
      const code = await client.call("POST", `${prefix}/node/query`, { $where: "1" });
      expect(code).toMatchObject(refusal(400, "INVALID_ARGUMENT", /\$where/));
    },
  );
}
