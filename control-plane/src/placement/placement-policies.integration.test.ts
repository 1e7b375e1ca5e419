import { afterEach, describe, expect, it, vi } from "vitest";
import { anEntry, PlacementHarness } from "../testing/placement-harness.ts";

const TWO = { c1: { nodes: 2, gpus: 4 }, c2: { nodes: 2, gpus: 4 } };
const WAIT = { timeout: 5_000, interval: 5 };

let harness: PlacementHarness;

afterEach(() => harness.close());

async function open(clusters: Readonly<Record<string, { nodes: number; gpus: number }>> = TWO) {
  harness = new PlacementHarness(clusters);
  await harness.start();
  return harness.fleet;
}

async function publish(name: string, code: string): Promise<void> {
  const text = JSON.stringify({ name, version: "1", release_tag: "t", code });
  await harness.policies.publish("default_org", JSON.parse(text), text);
}

describe("a ranking policy", () => {
  it("decides by the documents and dry runs of those that could take the block", async () => {
    const fleet = await open({ ...TWO, full: { nodes: 1, gpus: 1 } });
    fleet.get("c2").score = 0.9;
    fleet.get("full").score = 0;
    const source = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        seen = {d["id"]: d["dry_run"]["selection_score_data"]["score"] for d in input_data}
        assert seen == {"c1": 0.5, "c2": 0.9} and parameters["inputs"] == {"for": "me"}
        return sorted(input_data, key=lambda d: d["id"])[:parameters["return"]]
`;
    await publish("rank", source);
    const asked = { policy_rule_uri: "rank:1-t", inputs: { for: "me" }, parameters: { return: 1 } };
    expect(await harness.place({ block_data: anEntry("b"), ...asked })).toMatchObject({
      phase: "done",
      cluster_id: "c1",
      next: [],
      tried: expect.arrayContaining([
        expect.objectContaining({ cluster_id: "c2", step: "ranking" }),
      ]),
    });
    await publish("stranger", source.replace("return sorted", 'return ["nope", "c1"] + sorted'));
    const strange = { ...asked, policy_rule_uri: "stranger:1-t", parameters: { return: 0 } };
    expect(await harness.place({ block_data: anEntry("s"), ...strange })).toMatchObject({
      cluster_id: "c1",
      warnings: ['policy stranger:1-t returned "nope", which it was not given'],
    });
    const none = { ...asked, parameters: { return: 0 } };
    expect(await harness.place({ block_data: anEntry("n"), ...none })).toMatchObject({
      error: { reason: "UNSCHEDULABLE", message: expect.stringContaining("did not return it") },
    });
    const broken = { ...asked, inputs: {} };
    expect(await harness.place({ block_data: anEntry("f"), ...broken })).toMatchObject({
      phase: "failed",
      error: { reason: "POLICY_FAILED" },
    });
    const unknown = { block_data: anEntry("u"), policy_rule_uri: "rank:2-t" };
    await expect(harness.place(unknown)).rejects.toMatchObject({ reason: "NOT_FOUND" });
  }, 60_000);
});

describe("the policy of a block's clusterAllocator", () => {
  const source = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        self.settings = settings
    def eval(self, parameters, input_data, context):
        if input_data["action"] == "selection":
            ids = [d["id"] for d in input_data["filter_result"]]
            assert input_data["block_data"]["resources"] == {"gpus": 1}, input_data
            return {"clusters": [d for d in input_data["filter_result"] if d["id"] not in parameters["avoid"]]}
        assert input_data["action"] == "post_dry_run" and self.settings["how"] == "least"
        one = min(input_data["clusters"], key=lambda d: d["score_data"]["score"])
        assert one["cluster"]["id"] == one["id"] and one["block_data"]["id"], one
        return one
`;
  const entry = (id: string, uri: string, avoid: readonly string[]) => ({
    ...anEntry(id),
    policies: {
      clusterAllocator: { policyRuleURI: uri, parameters: { avoid }, settings: { how: "least" } },
    },
  });

  it("selects those that are asked and decides among their answers", async () => {
    const fleet = await open({ ...TWO, c3: { nodes: 1, gpus: 4 } });
    fleet.get("c1").score = 0.2;
    fleet.get("c2").score = 0.3;
    fleet.get("c3").score = 0.9;
    await publish("own", source);
    const placed = await harness.place(entry("b", "own:1-t", ["c1"]));
    expect(placed).toMatchObject({ phase: "done", cluster_id: "c2", score: 0.3, next: [] });
    const why = "the block's policy own:1-t did not choose it";
    expect(placed.tried).toEqual(
      expect.arrayContaining([
        { cluster_id: "c1", step: "ranking", reason: "UNSCHEDULABLE", message: why },
        { cluster_id: "c3", step: "ranking", reason: "UNSCHEDULABLE", message: why },
      ]),
    );
    expect(fleet.log.filter((one) => one.startsWith("c1"))).toEqual([]);
    await vi.waitFor(() => {
      expect(harness.decisions).toEqual([expect.objectContaining({ policy_rule_uri: "own:1-t" })]);
    }, WAIT);
    expect(await harness.place(entry("n", "own:1-t", ["c1", "c2", "c3"]))).toMatchObject({
      error: { reason: "UNSCHEDULABLE", message: expect.stringContaining(why) },
    });
    const broken = { ...entry("f", "own:1-t", []), resources: { gpus: 2 } };
    expect(await harness.place(broken)).toMatchObject({
      phase: "failed",
      error: { reason: "POLICY_FAILED" },
    });
  }, 60_000);

  it("gives way to the ranking policy of the request, and is warned of when the registry does not have it", async () => {
    const fleet = await open();
    fleet.get("c2").score = 0.9;
    const code = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        return ["c1"]
`;
    await publish("rank", code);
    const block_data = entry("b", "nobody:1-t", []);
    expect(await harness.place({ block_data, policy_rule_uri: "rank:1-t" })).toMatchObject({
      cluster_id: "c1",
    });
    const unknown = await harness.place(entry("u", "nobody:1-t", []));
    expect(unknown).toMatchObject({
      cluster_id: "c2",
      warnings: [
        'policies.clusterAllocator: there is no policy "nobody:1-t"; the highest score decides',
      ],
    });
    await vi.waitFor(() => {
      expect(harness.decisions.at(-1)).toMatchObject({
        policy_rule_uri: "built-in:highest-score",
        data: { block_id: "u" },
      });
    }, WAIT);
  }, 60_000);
});
