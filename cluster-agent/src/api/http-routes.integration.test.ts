import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ClusterAgent } from "../compose.ts";
import { AUTHORIZED, Cleanup, nodeClient, startAgent } from "../testing/agent.ts";
import { fingerprint, registerRequest } from "../testing/fixtures.ts";

const cleanup = new Cleanup();
let agent: ClusterAgent;

beforeEach(async () => {
  agent = await startAgent(cleanup, {});
  const print = fingerprint({ gpus: ["GPU-1"] });
  await nodeClient(cleanup, agent).register(registerRequest({ fingerprint: print }), AUTHORIZED);
});
afterEach(() => cleanup.run());

async function get(url: string) {
  const answer = await agent.http.inject({ method: "GET", url, headers: { host: "localhost" } });
  return { status: answer.statusCode, body: answer.json() };
}

async function patch(url: string, payload: string, contentType = "application/json") {
  const headers = { host: "localhost", "content-type": contentType };
  const answer = await agent.http.inject({ method: "PATCH", url, payload, headers });
  return { status: answer.statusCode, body: answer.json() };
}

describe("the cluster's REST surface", () => {
  it.each(["", "/controller"])("answers the controller's routes below %j", async (prefix) => {
    expect(await get(`${prefix}/healthy_nodes`)).toEqual({
      status: 200,
      body: { success: true, nodes: ["node-a"] },
    });
    const status = await get(`${prefix}/nodes_status`);
    expect(status.body).toMatchObject({
      success: true,
      nodes_status: [{ node_id: "node-a", status: "healthy", cpu_utilization_percent: null }],
    });
    const cluster = await get(`${prefix}/cluster-actions/get-cluster`);
    expect(cluster.body).toMatchObject({
      success: true,
      data: {
        id: "c1",
        nodes: { count: 1 },
        config: { urlMap: { controllerService: `${agent.httpUrl()}/controller` } },
      },
    });
    const update = await patch(
      `${prefix}/cluster-actions/update-cluster`,
      JSON.stringify({ $set: { tags: ["gpu"], reputation: 97 } }),
    );
    expect(update).toMatchObject({
      status: 200,
      body: { success: true, data: { tags: ["gpu"], reputation: 97, nodes: { count: 1 } } },
    });
  });

  it.each([
    ["not JSON", "{", 400, /not JSON/],
    ["an array", "[]", 400, /expected a JSON object, got array/],
    ["nothing", "", 400, /expected a JSON object, got nothing/],
    ["an observed field", '{"status":"dead"}', 400, /\$set\.status/],
    [
      "a bad type",
      '{"$set":{"reputation":"high"}}',
      400,
      /reputation: expected number, got string/,
    ],
  ])(
    "refuses an update that is %s, and changes nothing",
    async (_what, payload, status, message) => {
      const before = agent.cluster.document();
      const answer = await patch("/cluster-actions/update-cluster", payload);
      expect(answer.status).toBe(status);
      expect(answer.body).toMatchObject({ success: false, reason: "INVALID_ARGUMENT" });
      expect(answer.body.message).toMatch(message);
      expect(answer.body.error).toBe(answer.body.message);
      expect(agent.cluster.document()).toEqual(before);
    },
  );

  it("keeps the numbers of an update as they were written, and refuses those that no policy can read", async () => {
    const url = "/cluster-actions/update-cluster";
    const written =
      '{"clusterMetadata.big":12345678901234567890,"config.ratio":1.50,"reputation":97.0}';
    const headers = { host: "localhost", "content-type": "application/json" };
    const answer = await agent.http.inject({ method: "PATCH", url, payload: written, headers });
    const shown = await agent.http.inject({
      ...{ method: "GET", url: "/cluster-actions/get-cluster", headers: { host: "localhost" } },
    });
    for (const { payload } of [answer, shown]) {
      expect(payload).toContain('"big":12345678901234567890');
      expect(payload).toContain('"ratio":1.50');
      expect(payload).toContain('"reputation":97.0');
    }
    const refused = await patch(url, '{"$set":{"clusterMetadata":{"list":[1,{"huge":1e400}]}}}');
    expect(refused).toMatchObject({ status: 400, body: { reason: "INVALID_ARGUMENT" } });
    expect(refused.body.message).toBe(
      "clusterMetadata.list.1.huge: a number is too large for a double",
    );
    expect((await patch(url, '{"reputation":1e400}')).body.message).toContain("reputation");
  });

  it("refuses an update without a JSON content type", async () => {
    const answer = await patch("/cluster-actions/update-cluster", '{"tags":[]}', "text/plain");
    expect(answer.status).toBe(415);
  });

  it("serves metrics in the existing shapes", async () => {
    expect((await get("/metrics/cluster")).body).toMatchObject({
      success: true,
      data: {
        cluster_metrics: { vcpu: { count: 16 }, gpu: { count: 1, free_gpus: 1 } },
        node_metrics: [{ id: "node-a", status: "healthy" }],
      },
    });
    expect((await get("/metrics/node/node-a")).body).toMatchObject({
      success: true,
      data: [
        {
          nodeId: "node-a",
          clusterId: "c1",
          type: "hardware",
          metrics: { resource: { node: { id: "node-a", gpus: [{ gpu_id: 0, uuid: "GPU-1" }] } } },
        },
      ],
    });
    expect((await get("/metrics/node/nobody")).body).toEqual({ success: true, data: [] });
  });

  it("is ready while the link is down, and says so", async () => {
    const ready = await get("/readyz");
    expect(ready).toMatchObject({
      status: 200,
      body: { success: true, link: { state: "down", mode: "obey", agentIncarnation: "1" } },
    });
    expect((await get("/healthz")).status).toBe(200);
  });

  it("answers 404 for routes that do not exist and 403 for a foreign host", async () => {
    expect((await get("/nothing")).status).toBe(404);
    const headers = { host: "evil.example" };
    const answer = await agent.http.inject({ method: "GET", url: "/healthz", headers });
    expect(answer.statusCode).toBe(403);
  });

  it.each(["/check_stability", "/controller/check_stability"])(
    "answers 501 for %s, which comes later",
    async (url) => {
      const { status, body } = await get(url);
      expect({ status, reason: body.reason }).toEqual({ status: 501, reason: "UNIMPLEMENTED" });
      expect(body.message).toContain("/check_stability comes with a later version");
    },
  );

  it("answers over its socket at the URL that its document names", async () => {
    const { controllerService } = agent.cluster.document().config.urlMap as Record<string, string>;
    const answer = await fetch(`${controllerService}/healthy_nodes`);
    expect(await answer.json()).toEqual({ success: true, nodes: ["node-a"] });
  });
});

describe("a port that is taken", () => {
  it("fails the start with a message that names the setting", async () => {
    const taken = Number(new URL(agent.httpUrl()).port);
    await expect(startAgent(cleanup, { httpPort: taken })).rejects.toThrow(/BERTH_HTTP_PORT/);
    await expect(startAgent(cleanup, { nodePort: taken })).rejects.toThrow(/BERTH_NODE_PORT/);
  });
});
