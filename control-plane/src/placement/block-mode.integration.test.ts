import { afterEach, expect, it } from "vitest";
import { anEntry, PlacementHarness, principal } from "../testing/placement-harness.ts";

let harness: PlacementHarness;

afterEach(() => harness.close());

const signal = new AbortController().signal;

function block(over: object = {}): Record<string, unknown> {
  const filter = { clusterQuery: { variable: "id", operator: "IN", value: ["c1", "c2"] } };
  const policies = { clusterAllocator: { policyRuleURI: "any:1-t", parameters: { filter } } };
  return { ...anEntry("b"), policies, ...over };
}

async function open() {
  harness = new PlacementHarness({
    ...{ c1: { nodes: 1, gpus: 2 }, c2: { nodes: 1, gpus: 2 }, c3: { nodes: 1, gpus: 8 } },
  });
  const { blockMode } = await harness.start();
  return (mode: "dry_run" | "select_clusters", entry: Record<string, unknown>) =>
    blockMode.answer(principal, { mode, entry }, signal);
}

it("gives the clusters of the filter of the block's clusterAllocator, bare", async () => {
  const ask = await open();
  expect(await ask("select_clusters", block())).toEqual({
    clusters: [expect.objectContaining({ id: "c1" }), expect.objectContaining({ id: "c2" })],
  });
});

it("gives the entry of the best of them after a dry run, as the existing deployment does, and takes nothing", async () => {
  const ask = await open();
  harness.fleet.get("c2").score = 0.75;
  const entry = block();
  expect(await ask("dry_run", entry)).toEqual({
    id: "c2",
    cluster: expect.objectContaining({ id: "c2" }),
    score_data: expect.objectContaining({
      score: 0.75,
      node_info: { node_id: "c2-node-0", gpus: ["0"] },
    }),
    block_data: entry,
  });
  expect(harness.fleet.get("c2").heldLeases).toBe(0);
});

it("has the block's own policy choose, where the registry has it", async () => {
  const ask = await open();
  harness.fleet.get("c2").score = 0.75;
  const code = `class AIOSv1PolicyRule:
    def __init__(self, rule_id, settings, parameters):
        pass
    def eval(self, parameters, input_data, context):
        if input_data["action"] == "selection":
            return {"clusters": input_data["filter_result"][:parameters["most"]]}
        return min(input_data["clusters"], key=lambda one: one["score_data"]["score"])
`;
  const text = JSON.stringify({ name: "own", version: "1", release_tag: "t", code });
  await harness.policies.publish("default_org", JSON.parse(text), text);
  const own = (most: number) => {
    return block({
      policies: { clusterAllocator: { policyRuleURI: "own:1-t", parameters: { most } } },
    });
  };
  expect(await ask("select_clusters", own(2))).toMatchObject({
    clusters: [{ id: "c1" }, { id: "c2" }],
  });
  expect(await ask("dry_run", own(3))).toMatchObject({ id: expect.stringMatching(/c1|c3/) });
  await expect(ask("select_clusters", own(0))).rejects.toMatchObject({
    reason: "UNSCHEDULABLE",
    message: "no cluster: the block's policy own:1-t did not choose it",
  });
}, 60_000);

it("says why when there is none", async () => {
  const ask = await open();
  const none = { clusterQuery: { variable: "id", operator: "==", value: "x" } };
  const nobody = block({ policies: { clusterAllocator: { parameters: { filter: none } } } });
  for (const mode of ["select_clusters", "dry_run"] as const) {
    await expect(ask(mode, nobody)).rejects.toMatchObject({
      reason: "UNSCHEDULABLE",
      message: "no results found in the filter",
    });
  }
  await expect(ask("dry_run", block({ resources: { gpus: 3 } }))).rejects.toMatchObject({
    reason: "UNSCHEDULABLE",
    message: expect.stringContaining("c1: no node has 3 GPUs free"),
  });
  await expect(ask("dry_run", block({ id: undefined }))).rejects.toMatchObject({
    reason: "INVALID_ARGUMENT",
    message: "input.id: expected the id of the block, got nothing",
  });
  await expect(ask("dry_run", anEntry("b") as Record<string, unknown>)).rejects.toMatchObject({
    reason: "INVALID_ARGUMENT",
    message: "input.policies.clusterAllocator: required field is missing",
  });
});
