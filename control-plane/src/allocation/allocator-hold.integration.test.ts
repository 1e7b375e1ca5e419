import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { AllocatorHarness } from "../testing/allocator-harness.ts";
import { ModelFleet } from "../testing/model-fleet.ts";

/** The first free GPU there is; with `blind` the first one. */
const FIRST = `for cluster_id, entry in input_data["cluster_data"].items():
    for node in entry["data"]["nodes"]["nodeData"]:
        for gpu in node["gpus"]["gpus"]:
            if parameters.get("blind") or gpu["state"] == "free":
                return {"cluster_id": cluster_id, "node_id": node["id"], "gpus": [gpu["id"]]}
return {"cluster_id": None, "reasons": ["all are taken"]}`;

interface Answer {
  readonly held: boolean;
  readonly lease_id?: string;
  readonly data: { readonly gpus?: readonly string[]; readonly unschedulable?: boolean };
}

let harness: AllocatorHarness;
let fleet: ModelFleet;
let first: string;

beforeAll(async () => {
  harness = new AllocatorHarness();
  await harness.ready();
  first = await harness.publish("first", FIRST);
});

afterAll(() => harness.close());

/** The views are as the fleet was then, however it changes: a ledger is ahead of what is known of it. */
beforeEach(() => {
  fleet = new ModelFleet({ m: { nodes: 1, gpus: 8 } });
  harness.agents = fleet;
  harness.views.clear();
  harness.views.set("m", fleet.get("m").view());
  harness.assumptions.remove("default_org", "m");
});

const allocate = (fields: object) => harness.allocate(first, fields) as Promise<Answer>;

async function takeElsewhere(...slots: readonly number[]): Promise<void> {
  for (const slot of slots) {
    const body = { subject: "other", ttl_ms: 600_000, node_id: "m-node-0", gpus: [String(slot)] };
    const request = { method: "POST", path: "/leases", bodyJson: JSON.stringify(body) } as const;
    expect(await fleet.call("m", request, { timeoutMs: 1_000 })).toMatchObject({ status: 201 });
  }
}

describe("hold", () => {
  it("leases what the answer names, on the cluster that owns it, for whom and as long as was asked", async () => {
    const answer = await allocate({ hold: { ttl_ms: 5_000, subject: "job-7" } });
    expect(answer).toMatchObject({ held: true, ttl_ms: 5_000, data: { gpus: ["0"] } });
    expect(answer.lease_id).toMatch(/^m:[0-9a-f-]{36}$/);
    const [lease] = fleet.get("m").leases;
    expect(lease).toMatchObject([answer.lease_id, { subject: "job-7", slots: ["0"] }]);
  });

  it("asks the policy again without the GPUs that turn out to be taken, which it sees as leased", async () => {
    await takeElsewhere(0, 1);
    expect(await allocate({ hold: true })).toMatchObject({ held: true, data: { gpus: ["2"] } });
    expect(harness.records.at(-1)).toMatchObject({ outcome: "placed", attempts: 3 });
  });

  it("gives a GPU of a lost answer that was free to the next run", async () => {
    const two = await harness.publish(
      "first-two",
      `free = [g["id"] for g in input_data["cluster_data"]["m"]["data"]["nodes"]["nodeData"][0]["gpus"]["gpus"] if g["state"] == "free"]
return {"cluster_id": "m", "node_id": "m-node-0", "gpus": free[:2]}`,
    );
    await takeElsewhere(1);
    const asked = { hold: true, assume_seconds: 60 };
    expect(await harness.allocate(two, asked)).toMatchObject({
      held: true,
      data: { gpus: ["0", "2"] },
    });
  });

  it("says why nothing is held when the policy goes on choosing what is taken", async () => {
    await takeElsewhere(0);
    expect(await allocate({ hold: true, parameters: { blind: true } })).toMatchObject({
      held: false,
      hold_refused: "node m-node-0 of cluster m: GPU 0 of m-node-0 is taken",
      data: { gpus: ["0"] },
    });
    expect(harness.records.at(-1)?.attempts).toBe(4);
    expect(fleet.get("m").heldLeases).toBe(1);
  });

  it("gives each of 12 callers at once another of 8 GPUs, or says that all are taken", async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => allocate({ hold: true, assume_seconds: 0 })),
    );
    const held = answers.filter((answer) => answer.held);
    // Nobody is told of what others hold but by a conflict: a caller may lose four times.
    const gpus = held.flatMap(({ data }) => data.gpus ?? []);
    expect(new Set(gpus).size).toBe(gpus.length);
    expect(fleet.get("m").heldLeases).toBe(held.length);
    const others = answers.filter((answer) => !answer.held);
    expect(held.length).toBeGreaterThanOrEqual(4);
    for (const answer of others) expect(answer).toMatchObject({ held: false });
  });

  it("leaves what is held to the ledger after a few seconds, however long answers are assumed", async () => {
    const view = fleet.get("m").view();
    const isLeased = () => {
      const [node] = harness.assumptions.overlay(view).document.nodes.nodeData;
      return node?.gpus.gpus.some(({ state }) => state === "leased");
    };
    await allocate({ hold: true, assume_seconds: 60 });
    expect(isLeased()).toBe(true);
    await vi.waitFor(() => expect(isLeased()).toBe(false), { timeout: 4_500, interval: 50 });
  });

  it("holds all placements of a list or none", async () => {
    const list = await harness.publish(
      "list",
      'return [{"cluster_id": "m", "node_id": "m-node-0", "gpus": [str(i)]} for i in parameters["of"]]',
    );
    const ask = (of: readonly number[]) =>
      harness.allocate(list, { hold: true, parameters: { of } });
    expect(await ask([0, 1])).toMatchObject({
      held: true,
      lease_ids: [/^m:/, /^m:/].map((one) => expect.stringMatching(one)),
    });
    expect(await ask([2, 1])).toMatchObject({ held: false });
    await vi.waitFor(() => expect(fleet.get("m").heldLeases).toBe(2));
  });

  it.each([
    ["a placement without a node", { cluster_id: "m" }, "names no node"],
    ["a ledger that is closed", { cluster_id: "m", node_id: "m-node-0" }, "the ledger is closed"],
  ])("of %s is refused, and says why", async (name, data, why) => {
    fleet.get("m").isClosed = true;
    const constant = await harness.publish(
      name.replaceAll(" ", "-"),
      `return ${JSON.stringify(data)}`,
    );
    expect(await harness.allocate(constant, { hold: true })).toMatchObject({
      held: false,
      hold_refused: expect.stringContaining(why),
      warnings: [expect.stringContaining("hold: ")],
    });
  });
});
