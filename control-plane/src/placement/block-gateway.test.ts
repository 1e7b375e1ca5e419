import { expect, it } from "vitest";
import type { AgentApi } from "../fleet/agent-api.ts";
import { ModelFleet } from "../testing/model-fleet.ts";
import { BlockGateway } from "./block-gateway.ts";

const homes = { unheard: () => [], unheardClusters: () => [] };
const signal = new AbortController().signal;
const ACTION = { action: "remove-node", block_id: "n" };

/** An agent that drains nodes by operations, and tells what became of one when it is asked again. */
function open() {
  const fleet = new ModelFleet({ c1: { nodes: 1, gpus: 1 } });
  const queries: URLSearchParams[] = [];
  const agents: AgentApi = {
    call: async (id, request, options) => {
      if (request.method !== "DELETE") return fleet.call(id, request, options);
      const query = new URLSearchParams(request.path.split("?")[1]);
      queries.push(query);
      if (query.get("wait") === "true") return { status: 200, bodyJson: '{"data":"document"}' };
      const bodyJson = JSON.stringify(ACTION);
      const begun = { method: "POST", path: "/executeAction", bodyJson } as const;
      return fleet.call(id, begun, options);
    },
  };
  const charges = { charge: async () => [], settle: async () => {} };
  return { gateway: new BlockGateway({ agents, blocks: fleet.blocks, homes, charges }), queries };
}

it("waits for the removal of a node without an order on the link, and gives the agent's own answer", async () => {
  const { gateway, queries } = open();
  const path = "/cluster-actions/remove-node/n%201?force=true";
  expect(await gateway.removeNode("c1", path, signal)).toEqual({
    status: 200,
    bodyJson: '{"data":"document"}',
  });
  expect(queries.map((query) => query.get("wait"))).toEqual(["false", "true"]);
  const keys = new Set(queries.map((query) => query.get("idempotency_key")));
  expect(keys.size).toBe(1);
  expect([...keys][0]).toMatch(/^[0-9a-f-]{36}$/);
  expect(queries.every((query) => query.get("force") === "true")).toBe(true);
});

it("gives a removal that is not waited for on once, under the client's key", async () => {
  const { gateway, queries } = open();
  const path = "/cluster-actions/remove-node/n?wait=false&idempotency_key=k";
  expect(await gateway.removeNode("c1", path, signal)).toMatchObject({ status: 202 });
  expect(queries.map(String)).toEqual(["wait=false&idempotency_key=k"]);
});
