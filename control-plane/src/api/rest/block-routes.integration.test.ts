import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { createHttpServer, loopbackAuthenticator, silentLogger } from "@berth/service-kit";
import type { FastifyInstance } from "fastify";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { anEntry, PlacementHarness } from "../../testing/placement-harness.ts";
import { blockRoutes } from "./block-routes.ts";
import { clusterCallRoutes } from "./cluster-call-routes.ts";
import { holdRoutes } from "./hold-routes.ts";
import { operationRoutes } from "./operation-routes.ts";
import { placementRoutes } from "./placement-routes.ts";

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

let harness: PlacementHarness;
let rest: FastifyInstance;

beforeEach(async () => {
  harness = new PlacementHarness({ c1: { nodes: 1, gpus: 4 }, c2: { nodes: 1, gpus: 4 } });
  harness.fleet.get("c1").score = 0.9;
  const { gateway, placements } = await harness.start();
  rest = createHttpServer({
    origins: { allowedHosts: [], allowedOrigins: [] },
    authenticate: loopbackAuthenticator("default_org"),
    logger: silentLogger,
  });
  rest.setValidatorCompiler(() => () => true);
  blockRoutes(rest, { gateway, placements });
  placementRoutes(rest, placements);
  holdRoutes(rest, gateway);
  operationRoutes(rest, gateway);
  clusterCallRoutes(rest, gateway);
});

afterEach(async () => {
  await rest.close();
  await harness.close();
});

async function ask(method: Method, url: string, payload?: object) {
  const headers = { host: "127.0.0.1", "content-type": "application/json" };
  const body = payload === undefined ? {} : { payload };
  const answer = await rest.inject({ method, url, headers, ...body });
  return { status: answer.statusCode, body: JSON.parse(answer.body) };
}

describe("the gateway", () => {
  it("places a block, shows it, and removes it", async () => {
    const placed = await ask("POST", "/blocks", anEntry("b"));
    expect(placed).toMatchObject({
      status: 201,
      body: {
        success: true,
        data: {
          ...{ block_id: "b", cluster_id: "c1", phase: "done" },
          block: { block_id: "b", cluster_id: "c1", live: true },
        },
      },
    });
    const { placement_id: id } = placed.body.data;
    expect(await ask("GET", `/placements/${id}`)).toMatchObject({
      body: { data: { phase: "done" } },
    });
    expect((await ask("GET", "/placements?block_id=b&phase=done")).body.data).toHaveLength(1);
    const { data } = (await ask("GET", "/blocks")).body;
    expect(data).toMatchObject([{ block_id: "b", cluster_id: "c1", live: true }]);
    expect((await ask("GET", "/blocks?cluster_id=c2")).body.data).toEqual([]);
    expect(await ask("GET", "/blocks/b")).toMatchObject({
      body: { data: { block_id: "b", cluster_id: "c1", live: true } },
    });
    const removed = await ask("DELETE", "/blocks/b?wait=true&timeout_ms=5000");
    expect(removed).toMatchObject({
      status: 200,
      body: { data: "Action performed", operation: { action: "remove_block", state: "done" } },
    });
    expect((await ask("GET", "/blocks/b")).status).toBe(404);
  });

  it("answers 202 without wait, and what was placed under the same key later", async () => {
    harness.fleet.get("c1").workMs = 50;
    const body = { block_data: anEntry("b"), wait: false, idempotency_key: "k" };
    const begun = await ask("POST", "/blocks", body);
    expect(begun).toMatchObject({ status: 202, body: { data: { phase: "choosing" } } });
    expect(await ask("POST", "/blocks/b/scale", { operation: "scale" })).toMatchObject({
      status: 409,
      body: { reason: "CONFLICT", placement_id: begun.body.data.placement_id },
    });
    const done = await ask("POST", "/blocks", { ...body, wait: true });
    expect(done).toMatchObject({
      status: 201,
      body: { data: { placement_id: begun.body.data.placement_id } },
    });
    const removed = await ask("DELETE", "/blocks/b?wait=false");
    expect(removed).toMatchObject({ status: 202, body: { data: { state: "running" } } });
    const operationId = removed.body.data.operation_id;
    await vi.waitFor(async () => {
      const { body: shown } = await ask("GET", `/operations/${operationId}`);
      expect(shown.data).toMatchObject({ state: "done", cluster_id: "c1" });
    });
    const { data } = (await ask("GET", "/operations?cluster_id=c1&state=done&block_id=b")).body;
    expect(data).toHaveLength(2);
  });

  it("says of a block that nobody takes what each cluster said", async () => {
    for (const id of ["c1", "c2"]) {
      harness.fleet.get(id).denies = { reason: "PRECHECK_DENIED", message: `${id} says no` };
    }
    expect(await ask("POST", "/blocks", anEntry("b"))).toMatchObject({
      status: 409,
      body: {
        success: false,
        reason: "UNSCHEDULABLE",
        clusters: [
          { cluster_id: "c1", step: "create", reason: "PRECHECK_DENIED", message: "c1 says no" },
          { cluster_id: "c2", step: "create", reason: "PRECHECK_DENIED", message: "c2 says no" },
        ],
      },
    });
    expect(await ask("POST", "/blocks", { block_data: anEntry("b"), topK: 1 })).toMatchObject({
      status: 400,
      body: { reason: "INVALID_ARGUMENT", message: "topK: unknown field" },
    });
  });

  it("asks which cluster is meant when two have the block, and shows what was last told of one that is away", async () => {
    await ask("POST", "/clusters/c1/executeAction", {
      action: "create_block",
      block_data: anEntry("b"),
    });
    const other = { action: "create_block", data: { block_data: anEntry("b"), wait: true } };
    expect(await ask("POST", "/clusters/c2/executeAction", other)).toMatchObject({
      status: 200,
      body: { operation: { state: "done" } },
    });
    expect(await ask("GET", "/blocks/b")).toMatchObject({
      status: 409,
      body: { cluster_ids: ["c1", "c2"] },
    });
    harness.fleet.setLive("c2", false);
    expect(await ask("GET", "/blocks/b?cluster_id=c2")).toMatchObject({
      status: 200,
      body: { data: { block_id: "b", cluster_id: "c2", live: false } },
    });
    expect(await ask("DELETE", "/blocks/b?cluster_id=c2")).toMatchObject({
      status: 503,
      body: { reason: "UNAVAILABLE", message: "cluster c2 is unreachable now" },
    });
    expect((await ask("GET", "/blocks/b?cluster_id=c9")).status).toBe(404);
  });

  it("gives refusals of agents on as they are, also of operations that were waited for here", async () => {
    harness.fleet.get("c1").fails = { reason: "POLICY_FAILED", message: "the policy raised" };
    const create = { action: "create_block", block_data: anEntry("b") };
    expect(await ask("POST", "/clusters/c1/executeAction", create)).toMatchObject({
      status: 400,
      body: {
        ...{ success: false, reason: "POLICY_FAILED", data: "the policy raised" },
        operation_state: "failed",
      },
    });
    harness.fleet.get("c1").denies = { reason: "PRECHECK_DENIED", message: "no" };
    const again = { ...create, idempotency_key: "other" };
    expect(await ask("POST", "/clusters/c1/executeAction", again)).toMatchObject({ status: 403 });
    expect((await ask("GET", "/clusters/c1/cluster-actions/get-cluster")).status).toBe(404);
    expect(harness.fleet.log.at(-1)).toBe("c1 GET /cluster-actions/get-cluster");
    await ask("DELETE", "/clusters/c1/cluster-actions/remove-node/n%201?force=true");
    expect(harness.fleet.log.at(-1)).toMatch(
      /^c1 DELETE \/cluster-actions\/remove-node\/n%201\?force=true&.*wait=false$/,
    );
  });

  it.each(["../leases/x", "%2e%2E/leases/x", "./remove-node/n", "x/..\\leases"])(
    "passes no path on that leads elsewhere: %s",
    async (path) => {
      const { port } = new URL(await rest.listen({ host: "127.0.0.1", port: 0 }));
      const url = `/clusters/c1/cluster-actions/${path}`;
      const asked = request({ host: "127.0.0.1", port, method: "DELETE", path: url }).end();
      const [answer] = (await once(asked, "response")) as [IncomingMessage];
      answer.resume();
      expect(answer.statusCode).toBe(400);
      expect(harness.fleet.log).toEqual([]);
    },
  );

  it("answers for a block that is done although its cluster tells of none", async () => {
    const body = { block_data: anEntry("b"), idempotency_key: "k" };
    expect((await ask("POST", "/blocks", body)).status).toBe(201);
    harness.fleet.clusters.delete("c1");
    const again = await ask("POST", "/blocks", body);
    expect(again).toMatchObject({ status: 201, body: { data: { cluster_id: "c1" } } });
    expect(again.body.data).not.toHaveProperty("block");
  });

  it("takes the options of an action from its body, and the cluster from the query as well", async () => {
    await ask("POST", "/blocks", anEntry("b"));
    const sent: unknown[] = [];
    harness.fleet.before = (_id, { method, bodyJson = "{}" }) => {
      if (method === "POST") sent.push(JSON.parse(bodyJson));
    };
    const parameters = { cluster_id: "c1", wait: false, idempotency_key: "k", temperature: 1 };
    expect((await ask("POST", "/blocks/b/parameters", parameters)).status).toBe(202);
    expect(sent).toEqual([
      {
        ...{ action: "parameter_update", block_id: "b", idempotency_key: "k", wait: false },
        update_data: { temperature: 1 },
      },
    ]);
    // What is no object is the agent's to refuse, and no parameter of that name.
    await ask("POST", "/blocks/b/parameters", { update_data: null, idempotency_key: "l" });
    expect(sent.at(-1)).toMatchObject({ action: "parameter_update", update_data: null });
    const other = await ask("POST", "/blocks/b/scale?cluster_id=c2", { operation: "scale" });
    expect(other).toMatchObject({ status: 404, body: { reason: "NOT_FOUND" } });
    const both = await ask("POST", "/blocks/b/scale?cluster_id=c2", { cluster_id: "c1" });
    const message = "cluster_id: the parameter and the body name different clusters";
    expect(both).toMatchObject({ status: 400, body: { message } });
    expect((await ask("POST", "/blocks/b/scale?cluster=c2", {})).status).toBe(400);
  });

  it("shows leases, renews one and ends it at its cluster, whoever gave it its id", async () => {
    for (const leaseId of ["c1:5e0b", "given-at-the-cluster"]) {
      const gpu = leaseId === "c1:5e0b" ? "0" : "1";
      const body = {
        lease_id: leaseId,
        subject: "s",
        ttl_ms: 60_000,
        node_id: "c1-node-0",
        gpus: [gpu],
      };
      const request = { method: "POST", path: "/leases", bodyJson: JSON.stringify(body) } as const;
      await harness.fleet.call("c1", request, { timeoutMs: 1_000 });
    }
    expect((await ask("GET", "/leases?cluster_id=c1&subject=s")).body.data).toMatchObject([
      { lease_id: "c1:5e0b", cluster_id: "c1" },
      { lease_id: "given-at-the-cluster", cluster_id: "c1" },
    ]);
    expect((await ask("GET", "/leases?limit=1")).body).toMatchObject({ more: 1 });
    const renewed = await ask("POST", "/leases/c1:5e0b/renew", { ttl_ms: 5_000 });
    expect(renewed.body.data.ttl_left_ms).toBeGreaterThan(4_000);
    expect(renewed.body.data.ttl_left_ms).toBeLessThanOrEqual(5_000);
    for (const leaseId of ["c1:5e0b", "given-at-the-cluster"]) {
      expect((await ask("DELETE", `/leases/${leaseId}`)).status).toBe(200);
    }
    expect(harness.fleet.get("c1").heldLeases).toBe(0);
    expect((await ask("DELETE", "/leases/unknown")).status).toBe(404);
    expect((await ask("GET", "/allocations?block_id=b")).body.data).toEqual([]);
  });
});
