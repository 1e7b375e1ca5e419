import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocatorHarness, ORG, SEEN } from "../../testing/allocator-harness.ts";
import { recordBytes } from "./record-bytes.ts";

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

/** The fields of a request whose candidates a policy ranks, which a filter by id finds. */
function search(policyRuleURI: string, id: string) {
  const filter = { clusterQuery: { variable: "id", operator: "LIKE", value: id } };
  const rankingPolicyRule = { policyRuleURI, parameters: { filterRule: { filter } } };
  return { search: { rankingPolicyRule } };
}

const NO_MATCH = { id: "c2", reason: "the filter does not match" };
const GONE = { id: "gone", reason: "unreachable" };

describe("the record of a search", () => {
  it("says which policy ranked, how long it took, and what it printed", async () => {
    const uri = await harness.publish("seen", SEEN);
    const ranking = await harness.publish("rank-logs", 'print("ranked")\nreturn ["c2"]');
    await harness.allocate(uri, search(ranking, "c*"));
    const record = harness.records.at(-1);
    expect(record).toMatchObject({
      selection: "search",
      policy_rule_uri: uri,
      candidates: ["c2"],
      policy_log: "",
      ranking: {
        policy_rule_uri: ranking,
        policy_digest: (await harness.policies.get(ORG, ranking)).digest,
        timings_ms: { queued: expect.any(Number), policy_cpu: expect.any(Number) },
        policy_log: "ranked\n",
      },
    });
    expect(record?.ranking?.timings_ms?.policy).toBeGreaterThan(0);
    await harness.allocate(uri);
    expect(harness.records.at(-1)).not.toHaveProperty("ranking");
  });

  it.each([
    ["raises", 'print("ranked")\nraise ValueError("no")', "raised ValueError"],
    ["is-wrong", 'print("ranked")\nreturn [{"no": "id"}]', "result[0]: expected a document"],
  ])("keeps what a ranking policy saw and did that %s", async (name, body, message) => {
    const uri = await harness.publish("seen", SEEN);
    const ranking = await harness.publish(`rank-${name}`, body);
    const error = await harness.allocate(uri, search(ranking, "c1")).catch((thrown) => thrown);
    expect(error).toMatchObject({ reason: "POLICY_FAILED", details: { log: "ranked\n" } });
    const record = harness.records.at(-1);
    expect(record).toMatchObject({
      outcome: "failed",
      error: { reason: "POLICY_FAILED", message: expect.stringContaining(message) },
      attempts: 0,
      inventory_revision: 42,
      candidates: ["c1"],
      dropped: [NO_MATCH, GONE],
      ranking: { policy_rule_uri: ranking, policy_log: "ranked\n" },
    });
    expect(record?.ranking?.timings_ms?.policy).toBeGreaterThan(0);
  });

  it("says when the ranking policy did not run: nobody knows it, or nothing was found", async () => {
    const uri = await harness.publish("seen", SEEN);
    await expect(harness.allocate(uri, search("no-such:1-t", "c1"))).rejects.toThrow("not found");
    expect(harness.records.at(-1)).toMatchObject({
      inventory_revision: 42,
      ranking: {
        ...{ policy_rule_uri: "no-such:1-t", policy_digest: null },
        ...{ timings_ms: null, policy_log: "" },
      },
    });
    const ranking = await harness.publish("rank-logs", 'print("ranked")\nreturn ["c2"]');
    await harness.allocate(uri, search(ranking, "nothing"));
    expect(harness.records.at(-1)).toMatchObject({
      ...{ outcome: "unschedulable", candidates: [] },
      ranking: { policy_digest: expect.any(String), timings_ms: null },
    });
  });

  it("keeps what the ranking came to when the policy behind it fails", async () => {
    const uri = await harness.publish("raises", "raise ValueError('no')");
    const ranking = await harness.publish("rank-logs", 'print("ranked")\nreturn ["c2"]');
    await expect(harness.allocate(uri, search(ranking, "c*"))).rejects.toThrow("ValueError");
    expect(harness.records.at(-1)).toMatchObject({
      ...{ attempts: 1, candidates: ["c2"] },
      dropped: [GONE, { id: "c1", reason: expect.stringContaining("not returned by") }],
      ranking: { policy_log: "ranked\n" },
    });
  });

  it("holds no more than the beginning of what both policies printed", async () => {
    const uri = await harness.publish("loud", 'print("x" * 60000)\nreturn None');
    const ranking = await harness.publish("rank-loud", 'print("y" * 60000)\nreturn ["c1"]');
    await harness.allocate(uri, search(ranking, "c*"));
    const record = harness.records.at(-1);
    if (record === undefined) throw new Error("there is no record");
    expect(record.ranking?.policy_log).toBe("y".repeat(16 * 1024));
    expect(record.policy_log).toBe("x".repeat(16 * 1024));
    expect(recordBytes(record)).toBeGreaterThan(32 * 1024);
    expect(recordBytes(record)).toBeGreaterThan(JSON.stringify(record).length - 1_000);
  });
});
