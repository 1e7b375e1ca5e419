import path from "node:path";
import process from "node:process";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { type Fleet, freePorts, launchFleet, until } from "../support/fleet.ts";

/** Subjects whose replicas are the instances of a block, or places, of a simulated fleet, through the real programs. */
const WAIT = { timeout: 30_000, interval: 100 };

const SERVER = path.resolve(import.meta.dirname, "../../examples/blocks/echo/server.js");

let fleet: Fleet;
beforeAll(async () => {
  const ports = await freePorts();
  const args = ["--sim", "2x2x2", "--sim-port", String(ports.cluster), "--no-cluster-ports"];
  fleet = await launchFleet({ ports, args });
  await until(() => fleet.output().includes("Ctrl-C stops the fleet"), {
    limitMs: 80_000,
    what: () => `the simulated fleet to be ready; so far:\n${fleet.output()}`,
  });
});
afterAll(async () => {
  await call("DELETE", "/blocks/echo").catch(() => undefined);
  await fleet.stop();
});

async function call(method: string, path: string, body?: object) {
  const answer = await fetch(`http://127.0.0.1:${fleet.ports.http}${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: JSON.parse(await answer.text()) };
}

const scale = async (replicas: number, subject = "echo-team") => {
  const asked = { subject_id: subject, replica_count: replicas };
  return (await call("POST", "/autoscale/requests", asked)).body;
};
const instances = async () => {
  const { body } = await call("GET", "/blocks/echo");
  return body.data.instances as readonly {
    readonly instance_id: string;
    readonly node_id: string;
  }[];
};

it("has as many instances as are asked for, charged to its quota, and is seen in the report", async () => {
  const component = { containerRegistryInfo: { command: [process.execPath, SERVER] } };
  const block = { id: "echo", minInstances: 1, resources: { gpus: 1 }, component };
  expect((await call("POST", "/blocks", block)).status).toBe(201);
  const flavor = "NVIDIA H100 80GB HBM3";
  await call("POST", "/quota", { quota_id: "team", nominal: { [flavor]: 3 } });
  const allocation_info = { block_id: "echo", gpus_per_replica: { [flavor]: 1 } };
  const quota = { quota_id: "q", subject_id: "echo-team", parent_id: "team", replica_count: "1" };
  expect((await call("POST", "/quota", { ...quota, allocation_info })).status).toBe(201);

  const up = await scale(3);
  expect(up).toMatchObject({
    data: { state: "confirmed", response: { replicas: 3 }, block_id: "echo" },
  });
  expect(await instances()).toHaveLength(3);
  const over = await scale(4);
  expect(over).toMatchObject({ success: false, reason: "QUOTA_EXCEEDED" });
  expect(over.message).toMatch(
    /^quota "team" has a nominal of 3 GPUs of NVIDIA H100 80GB HBM3, others use 0 GPUs/,
  );
  const preview = await call("POST", "/quota/q/preview", { replica_count: 4 });
  expect(preview.body.data).toMatchObject({ allowed: false, fits_replicas: 3 });

  const feed = new WebSocket(`ws://127.0.0.1:${fleet.ports.ws}/?interval=1`);
  const frames: { readonly data: Record<string, never> }[] = [];
  feed.on("message", (data) => frames.push(JSON.parse(data.toString())));
  await vi.waitFor(() => {
    const { subjects } = (frames.at(-1)?.data ?? {}) as Record<string, Record<string, never>>;
    expect(subjects?.quotas?.["echo-team"]).toMatchObject([
      { quota_id: "q", replica_count: "3", observed_replicas: 3 },
    ]);
    expect(subjects?.metrics?.["echo-team"]).toMatchObject({
      ...{ replicas_reported: 3, source: "telemetry", gpu_usage: expect.any(Number) },
    });
  }, WAIT);
  feed.terminate();

  const before = (await instances()).map(({ instance_id: id }) => id);
  expect(await scale(1)).toMatchObject({ data: { state: "confirmed", response: { replicas: 1 } } });
  const after = (await instances()).map(({ instance_id: id }) => id);
  expect(after).toHaveLength(1);
  expect(before).toContain(after[0]);
  const { body } = await call("GET", "/quota/q");
  expect(body.data).toMatchObject({ replica_count: "1" });
});

it("says why when its block is gone or may not go below its bounds", async () => {
  await call("POST", "/quota", {
    quota_id: "n",
    subject_id: "nobody",
    allocation_info: { block_id: "none" },
  });
  const asked = { subject_id: "nobody", replica_count: 2 };
  expect((await call("POST", "/autoscale/requests", asked)).body.data).toMatchObject({
    state: "failed",
    response: { status: "failed", message: 'block_id: no cluster has a block "none"' },
  });
  const nothing = await call("POST", "/autoscale/requests", { ...asked, replica_count: 0 });
  expect(nothing.body.data).toMatchObject({ state: "confirmed", response: { replicas: 0 } });
  const none = await scale(0);
  expect(none.data).toMatchObject({
    state: "failed",
    response: { replicas: 1, message: expect.stringMatching(/minInstances is 1/) },
  });
});

it("has as many instances as there is room for, and is charged for these alone", async () => {
  const flavor = "NVIDIA H100 80GB HBM3";
  await call("PUT", "/quota/team", { nominal: { [flavor]: 20 } });
  const used = async () => (await call("GET", "/quota/team")).body.data.used;
  const part = await scale(6);
  expect(part.data).toMatchObject({
    state: "partial",
    response: { replicas: 4, message: expect.stringMatching(/^no place for instance 4 of 5/) },
  });
  expect(await instances()).toHaveLength(4);
  expect(await used()).toEqual({ [flavor]: 4 });
  const none = await scale(6);
  expect(none.data).toMatchObject({ state: "failed", response: { replicas: 4 } });
  expect(await used()).toEqual({ [flavor]: 4 });
  const by_hand = { operation: "scale", instances_count: 3 };
  expect((await call("POST", "/blocks/echo/scale", by_hand)).status).toBe(409);
  await vi.waitFor(async () => expect(await used()).toEqual({ [flavor]: 4 }), WAIT);
  expect((await scale(1)).data).toMatchObject({ state: "confirmed" });
  await vi.waitFor(async () => expect(await used()).toEqual({ [flavor]: 1 }), WAIT);
});

const FREE = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        for cluster_id, entry in input_data["cluster_data"].items():
            for node in entry["data"]["nodes"]["nodeData"]:
                for gpu in node["gpus"]["gpus"]:
                    if gpu["state"] == "free":
                        return {"cluster_id": cluster_id, "node_id": node["id"], "gpus": [gpu["id"]]}
        return {"cluster_id": None, "reasons": ["no GPU is free"]}
`;

interface TestLease {
  readonly lease_id: string;
  readonly subject: string;
}

it("holds a place for each replica that a policy places, until it goes", async () => {
  const policy = { name: "free", version: "1", release_tag: "t", code: FREE };
  expect((await call("POST", "/policy", policy)).status).toBe(200);
  const allocation_info = { policy_rule_uri: "free:1-t" };
  const quota = { quota_id: "places", subject_id: "placed-team", allocation_info };
  expect((await call("POST", "/quota", quota)).status).toBe(201);
  const leases = async (): Promise<readonly string[]> => {
    const { body } = await call("GET", "/leases?subject=default_org%2Freplica%2Fplaces");
    return body.data.map(({ lease_id: id }: TestLease) => id);
  };

  const up = await scale(3, "placed-team");
  expect(up).toMatchObject({ data: { state: "confirmed", response: { replicas: 3 } } });
  const places: readonly TestLease[] = up.data.response.places;
  const ids = places.map(({ lease_id: id }) => id);
  expect((await leases()).toSorted()).toEqual(ids.toSorted());
  expect((await call("GET", `/autoscale/requests/${up.data.uuid}`)).body.data).toEqual(up.data);

  const down = await scale(1, "placed-team");
  expect(down).toMatchObject({ data: { state: "confirmed", response: { places: [places[0]] } } });
  await vi.waitFor(async () => expect(await leases()).toEqual([ids[0]]), WAIT);

  const most = await scale(100, "placed-team");
  expect(most.data).toMatchObject({
    state: "partial",
    response: { message: "no place for a replica: no GPU is free" },
  });
  expect(await leases()).toHaveLength(most.data.response.replicas);
  expect(await scale(0, "placed-team")).toMatchObject({ data: { state: "confirmed" } });
  await vi.waitFor(async () => expect(await leases()).toEqual([]), WAIT);
});

it("has no more instances and holds than its quota has room for, whoever asks", async () => {
  const flavor = "NVIDIA H100 80GB HBM3";
  const used = async () => {
    const { body } = await call("GET", "/quota/own-team");
    return body.data.used[flavor] ?? 0;
  };
  const nominal = { [flavor]: 4 };
  await call("POST", "/quota", { quota_id: "own-team", subject_id: "own", nominal });
  const allocation_info = { block_id: "own-block", gpus_per_replica: { [flavor]: 1 } };
  const quota = { quota_id: "own", subject_id: "own-echo", parent_id: "own-team", allocation_info };
  expect((await call("POST", "/quota", quota)).status).toBe(201);
  const component = { containerRegistryInfo: { command: [process.execPath, SERVER] } };
  const block = (minInstances: number) => ({
    ...{ id: "own-block", minInstances, resources: { gpus: 1 }, component },
  });
  const over = await call("POST", "/blocks", block(5));
  expect(over).toMatchObject({ status: 429, body: { reason: "QUOTA_EXCEEDED" } });
  expect(over.body.obstacle).toMatchObject({ quota_id: "own-team", fits_gpus: 4 });
  // What was just given back shows as free with the next report of its cluster.
  await vi.waitFor(async () => {
    const made = await call("POST", "/blocks", block(2));
    expect([made.status, made.body.message]).toEqual([201, undefined]);
  }, WAIT);
  expect(await used()).toBe(2);
  const add = (count: number) =>
    call("POST", "/blocks/own-block/scale", { operation: "scale", instances_count: count });
  expect(await add(3)).toMatchObject({ status: 429, body: { reason: "QUOTA_EXCEEDED" } });
  expect((await add(1)).status).toBe(200);
  expect(await used()).toBe(3);

  const policy = { name: "first-free", version: "1", release_tag: "t", code: FREE };
  expect((await call("POST", "/policy", policy)).status).toBe(200);
  const ask = () =>
    call("POST", "/allocate", {
      ...{ policy_rule_uri: "first-free:1-t", inputs: {}, hold: { subject: "own" } },
    });
  // The policy may see as free what the ledger has just given away.
  const held = await vi.waitFor(async () => {
    const answer = await ask();
    expect([answer.body.held, answer.body.hold_refused]).toEqual([true, undefined]);
    return answer;
  }, WAIT);
  expect(await used()).toBe(4);
  expect((await ask()).body).toMatchObject({ held: false, hold_reason: "QUOTA_EXCEEDED" });
  const lease = encodeURIComponent(held.body.lease_id);
  expect((await call("DELETE", `/leases/${lease}`)).status).toBe(200);
  await vi.waitFor(async () => expect(await used()).toBe(3), WAIT);
  expect((await call("DELETE", "/blocks/own-block")).status).toBe(200);
  await vi.waitFor(async () => expect(await used()).toBe(0), { ...WAIT, timeout: 60_000 });
});
