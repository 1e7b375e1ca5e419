import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocatorHarness, ORG, SEEN } from "../../testing/allocator-harness.ts";

let harness: AllocatorHarness;

beforeAll(async () => {
  harness = new AllocatorHarness();
  await harness.ready();
});

afterAll(() => harness.close());

describe("decision records", () => {
  it("say what was asked, what the policy saw and what it said", async () => {
    const uri = await harness.publish("logs", 'print("hello")\nreturn {"cluster_id": "c1"}');
    const answer = await harness.allocate(uri, { clusters: ["c1", "ghost"] });
    const record = harness.records.at(-1);
    expect(record).toMatchObject({
      decision_id: (answer as { decision_id: string }).decision_id,
      outcome: "placed",
      policy_rule_uri: uri,
      policy_digest: (await harness.policies.get(ORG, uri)).digest,
      inputs_digest: createHash("sha256").update("{}").digest("hex"),
      selection: "ids",
      inventory_revision: 42,
      candidates: ["c1"],
      dropped: [{ id: "ghost", reason: "there is no such cluster" }],
      data: { cluster_id: "c1" },
      error: null,
      attempts: 1,
      policy_log: "hello\n",
    });
    expect(record?.timings_ms.total).toBeGreaterThan(0);
  });

  it("stay small when the answer is large, and say so", async () => {
    const uri = await harness.publish("large", 'return {"cluster_id": "c1", "text": "x" * 900000}');
    expect(await harness.allocate(uri)).toMatchObject({ data: { text: "x".repeat(900_000) } });
    expect(harness.records.at(-1)).toMatchObject({
      data: { cluster_id: "c1" },
      data_cut: { bytes: 900_029, cluster_ids: ["c1"] },
      warnings: ["the record holds the beginning of an answer of 900029 bytes"],
    });
    const named = await harness.publish("named", 'return {"cluster_id": "x" * 900000}');
    await expect(harness.allocate(named)).rejects.toThrow("is not one of the candidate clusters");
    expect(JSON.stringify(harness.records.at(-1)).length).toBeLessThan(3_000);
  });

  it("say why clusters were no candidates", async () => {
    const uri = await harness.publish("seen", SEEN);
    await harness.allocate(uri);
    expect(harness.records.at(-1)?.dropped).toEqual([
      { id: "c2", reason: "no agent; select it to have it considered" },
      { id: "gone", reason: "unreachable" },
    ]);
    await harness.allocate(uri, { filter: { variable: "id", operator: "==", value: "c1" } });
    expect(harness.records.at(-1)?.dropped).toEqual([
      { id: "c2", reason: "the filter does not match" },
      { id: "gone", reason: "unreachable" },
    ]);
  });

  it.each([
    ["POLICY_FAILED", "raises", "raise ValueError('no')"],
    ["POLICY_FAILED", "wrong", 'return {"cluster_id": "nope"}'],
    ["NOT_FOUND", "", ""],
  ])("keep a failure as %s, and the error names them", async (reason, name, body) => {
    const uri = name === "" ? "no-such:1-t" : await harness.publish(name, body);
    const error = await harness.allocate(uri).catch((thrown: unknown) => thrown);
    const record = harness.records.at(-1);
    expect(record).toMatchObject({ outcome: "failed", data: null, error: { reason } });
    expect(error).toMatchObject({ reason, details: { decision_id: record?.decision_id } });
  });
});
