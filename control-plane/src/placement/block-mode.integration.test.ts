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
