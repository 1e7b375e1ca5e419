import path from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import WebSocket from "ws";
import { type Fleet, startFleet } from "../support/fleet.ts";

const SERVER = path.resolve(import.meta.dirname, "../../examples/blocks/echo/server.js");
const COMPONENT = { containerRegistryInfo: { command: [process.execPath, SERVER] } };
const WAIT = { timeout: 20_000, interval: 100 };

let fleet: Fleet;
let gateway: string;

beforeAll(async () => {
  fleet = await startFleet();
  gateway = `http://127.0.0.1:${fleet.ports.http}`;
  await vi.waitFor(async () => {
    const placed = await ask("POST", "/blocks", { ...block("probe"), minInstances: 0 });
    expect(placed.status).toBe(201);
  }, WAIT);
  await ask("DELETE", "/blocks/probe");
});

afterAll(async () => {
  // Instances outlive their fleet.
  const { body } = await ask("GET", "/blocks").catch(() => ({ body: { data: [] } }));
  for (const { block_id: id } of body.data ?? []) await ask("DELETE", `/blocks/${id}`);
  await fleet.stop();
});

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any field of any answer
  readonly body: any;
}

async function ask(method: string, url: string, body?: object): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  const given = body === undefined ? {} : { headers, body: JSON.stringify(body) };
  const response = await fetch(`${gateway}${url}`, { method, ...given });
  return { status: response.status, body: await response.json() };
}

const block = (id: string, over: object = {}) => ({
  ...{ id, component: COMPONENT, resources: { cpuMillis: 10, memoryMiB: 16 } },
  ...over,
});

describe("a block through the gateway", () => {
  it("is placed, called, scaled, given parameters, reassigned and removed", async () => {
    const placed = await ask("POST", "/blocks", block("g1", { minInstances: 1, maxInstances: 3 }));
    expect(placed).toMatchObject({
      status: 201,
      body: { data: { phase: "done", block: { block_id: "g1", live: true } } },
    });
    const { cluster_id: clusterId } = placed.body.data;
    const scaled = await ask("POST", "/blocks/g1/scale", {
      operation: "scale",
      instances_count: 1,
    });
    expect(scaled).toMatchObject({ status: 200, body: { operation: { state: "done" } } });
    await vi.waitFor(async () => {
      const { body } = await ask("GET", "/blocks/g1");
      expect(body.data).toMatchObject({ id: "g1", cluster_id: clusterId, live: true });
      expect(body.data.instances.filter((one: { ready: boolean }) => one.ready)).toHaveLength(2);
    }, WAIT);
    const { data } = (await ask("GET", "/allocations?block_id=g1")).body;
    expect(data).toHaveLength(2);
    const update = { update_data: { prefix: "hi" } };
    expect(await ask("POST", "/blocks/g1/parameters", update)).toMatchObject({ status: 200 });
    expect(await ask("PATCH", "/blocks/g1", { tags: ["t"] })).toMatchObject({ status: 200 });
    expect((await ask("GET", "/blocks/g1")).body.data).toMatchObject({
      ...{ tags: ["t"], parameters: { prefix: "hi" } },
    });
    const moved = { instance_id: data[0].instance_id };
    expect(await ask("POST", "/blocks/g1/reassign", moved)).toMatchObject({ status: 200 });
    const { body } = await ask("GET", "/allocations?block_id=g1");
    const [{ instance_id: one }] = body.data;
    expect(await ask("DELETE", `/blocks/g1/instances/${one}`)).toMatchObject({ status: 200 });
    expect(await ask("DELETE", "/blocks/g1")).toMatchObject({ status: 200 });
    expect((await ask("GET", "/blocks/g1")).status).toBe(404);
    expect((await ask("GET", "/allocations?block_id=g1")).body.data).toEqual([]);
    expect((await ask("GET", "/leases")).body.data).toEqual([]);
  });

  it("is refused with what each cluster says when it fits nowhere", async () => {
    expect(await ask("POST", "/blocks", block("g2", { resources: { gpus: 900 } }))).toMatchObject({
      status: 409,
      body: { reason: "UNSCHEDULABLE", clusters: [{ step: "view", reason: "UNSCHEDULABLE" }] },
    });
    expect(await ask("POST", "/blocks", block("Not A Label"))).toMatchObject({
      status: 400,
      body: { reason: "INVALID_ARGUMENT", message: expect.stringContaining("id:") },
    });
  });

  it("is on exactly one place after the control-plane was killed while it was being placed", async () => {
    for (const [round, delayMs] of [5, 30, 80].entries()) {
      const id = `killed-${round}`;
      const body = { block_data: block(id), idempotency_key: id };
      const asked = ask("POST", "/blocks", body).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      process.kill(fleet.pidOf("control-plane"), "SIGKILL");
      await asked;
      await vi.waitFor(async () => {
        const placed = await ask("POST", "/blocks", body);
        expect(placed).toMatchObject({ status: 201, body: { data: { phase: "done" } } });
      }, WAIT);
      // It may have been there before the control-plane was killed, whose agent tells of it once it is back.
      await vi.waitFor(async () => {
        expect((await ask("GET", `/blocks/${id}`)).body.data).toMatchObject({ live: true });
      }, WAIT);
      const { data } = (await ask("GET", `/allocations?block_id=${id}`)).body;
      expect(data).toHaveLength(1);
      expect(await ask("DELETE", `/blocks/${id}`)).toMatchObject({ status: 200 });
    }
    await vi.waitFor(async () => {
      expect((await ask("GET", "/allocations")).body.data).toEqual([]);
      expect((await ask("GET", "/leases")).body.data).toEqual([]);
    }, WAIT);
  });

  it("may be preceded by an allocation that is held, renewed and given back", async () => {
    const source = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        for cluster_id, entry in input_data["cluster_data"].items():
            return {"cluster_id": cluster_id, "node_id": entry["data"]["nodes"]["nodeData"][0]["id"]}
`;
    const policy = { name: "any-node", version: "1", release_tag: "t" };
    const files = { "code/function.py": source };
    expect(await ask("POST", "/policy", { ...policy, files })).toMatchObject({ status: 200 });
    const body = { policy_rule_uri: "any-node:1-t", inputs: {}, hold: { ttl_ms: 60_000 } };
    const { body: held } = await ask("POST", "/allocate", body);
    expect(held).toMatchObject({ success: true, held: true, ttl_ms: 60_000 });
    const { lease_id: leaseId } = held;
    await vi.waitFor(async () => {
      const { data } = (await ask("GET", "/leases")).body;
      expect(data).toMatchObject([{ lease_id: leaseId, cluster_id: held.data.cluster_id }]);
    }, WAIT);
    const renewed = await ask("POST", `/leases/${leaseId}/renew`, { ttl_ms: 30_000 });
    expect(renewed).toMatchObject({ status: 200, body: { data: { renewals: 1 } } });
    expect(await ask("DELETE", `/leases/${leaseId}`)).toMatchObject({ status: 200 });
    await vi.waitFor(async () => {
      expect((await ask("GET", "/leases")).body.data).toEqual([]);
    }, WAIT);
  });

  it("is answered about in the allocator's block mode", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${fleet.ports.ws}`);
    const reply = new Promise<string>((resolve, reject) => {
      socket.once("message", (data) => resolve(String(data)));
      socket.once("error", reject);
    });
    await new Promise((resolve) => socket.once("open", resolve));
    const policies = { clusterAllocator: { policyRuleURI: "any:1-t", parameters: {} } };
    socket.send(JSON.stringify({ input: block("asked", { policies }), mode: "dry_run" }));
    expect(JSON.parse(await reply)).toMatchObject({
      id: expect.any(String),
      cluster: { id: expect.any(String) },
      score_data: { score: expect.any(Number) },
      block_data: { id: "asked" },
    });
    socket.close();
  });
});
