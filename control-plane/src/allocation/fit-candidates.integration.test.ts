import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AllocatorHarness, SEEN } from "../testing/allocator-harness.ts";
import { aView } from "../testing/documents.ts";

let harness: AllocatorHarness;

beforeAll(async () => {
  harness = new AllocatorHarness();
  const view = aView("large");
  const documentJson = `{"note":${JSON.stringify("x".repeat(300_000))},${view.documentJson.slice(1)}`;
  harness.views.set("large", { ...view, documentJson });
  const nested = `{"note":${"[".repeat(500)}${"]".repeat(500)},${view.documentJson.slice(1)}`;
  harness.views.set("nested", { ...aView("nested"), documentJson: nested });
  await harness.ready();
});

afterAll(() => harness.close());

const warnings = [
  expect.stringMatching(
    /^cluster large is no candidate: its documents do not fit a policy worker: /,
  ),
  expect.stringMatching(/^cluster nested is no candidate: .*nested 50. deep/),
];

describe("a cluster whose documents are too large or too deep", () => {
  it("is left out of the candidates with a reason, and fails nobody's decision", async () => {
    const uri = await harness.publish("seen", SEEN);
    expect(await harness.allocate(uri)).toMatchObject({ data: { seen: ["c1"] }, warnings });
    expect(harness.records.at(-1)).toMatchObject({
      candidates: ["c1"],
      dropped: expect.arrayContaining([
        { id: "large", reason: expect.stringContaining("do not fit a policy worker") },
        { id: "nested", reason: expect.stringContaining("do not fit a policy worker") },
      ]),
      warnings,
    });
  });

  it("is not there for a policy to choose", async () => {
    const uri = await harness.publish("chooses-large", 'return {"cluster_id": "large"}');
    await expect(harness.allocate(uri)).rejects.toThrow(
      "large is not one of the candidate clusters",
    );
  });

  it("is left out of what a ranking policy gets", async () => {
    const uri = await harness.publish("seen", SEEN);
    const policyRuleURI = await harness.publish("keeps-order", "return input_data");
    const reply = await harness.allocate(uri, { search: { rankingPolicyRule: { policyRuleURI } } });
    expect(reply).toMatchObject({
      data: { seen: ["c1", "c2"] },
      warnings: [...warnings, expect.stringContaining("cluster c2 has no agent")],
    });
  });
});
