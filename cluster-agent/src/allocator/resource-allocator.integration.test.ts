import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseBlockEntry } from "../blocks/block-entry.ts";
import { type BlockRecord, blockRecord } from "../blocks/block-records.ts";
import { Cleanup } from "../testing/agent.ts";
import { type BlockAgent, startBlockAgent } from "../testing/block-agent.ts";
import { ResourceAllocator } from "./resource-allocator.ts";

const cleanup = new Cleanup();
let fleet: BlockAgent;

beforeEach(async () => {
  fleet = await startBlockAgent(cleanup);
});
afterEach(() => cleanup.run());

/** A block that asks for one GPU, and is placed by policy p:1-s. */
function block(): BlockRecord {
  const entry = parseBlockEntry({
    id: "b",
    component: { containerRegistryInfo: { command: ["true"] } },
    policies: { resourceAllocator: { policyRuleURI: "p:1-s", parameters: {} } },
    resources: { gpus: 1, cpuMillis: 10 },
  });
  const about = { phase: "creating", operationId: "", createdAt: "", updatedAt: "" } as const;
  return blockRecord(entry, about);
}

/** An allocator whose policies return this. */
async function returning(resultJson: string): Promise<ResourceAllocator> {
  const facts = { interpreterMs: 0, log: [] };
  const { body } = await fleet.call("GET", "/cluster-actions/get-cluster");
  return new ResourceAllocator({
    placer: fleet.blocks.placer,
    policies: { run: async () => ({ kind: "done", resultJson, facts }) as never },
    cluster: { document: () => body.data, metrics: () => ({}) as never },
    nodes: { views: () => [] },
  });
}

/** Where the block goes when its policy returns this. */
async function choose(resultJson: string) {
  const allocator = await returning(resultJson);
  const signal = AbortSignal.timeout(5_000);
  const asked = { block: block(), besides: [], excluded: new Set<string>(), signal };
  return await allocator.choose({ action: "allocation", ...asked });
}

describe("a place that a policy names", () => {
  it.each([
    ['{"node_id":"node-a","gpus":[2,"GPU-3"]}', ["GPU-2", "GPU-3"]],
    ['{"node_id":"node-a","gpus":[]}', []],
    ['{"node_id":"node-a"}', []],
  ])(
    "has the GPUs that the policy says, however many the block asks for: %s",
    async (json, uuids) => {
      const placement = await choose(json);
      expect(placement).toMatchObject({
        kind: "placed",
        claim: { nodeId: "node-a", devices: uuids.map((uuid) => ({ uuid })), cpuMillis: 10 },
      });
    },
  );

  it.each([
    [
      '{"node_id":"node-a","gpus":[9]}',
      /^the result of policy p:1-s\.gpus\.0: node node-a has GPUs/,
    ],
    ['{"node_id":"node-a","gpu_ids":[9]}', /^the result of policy p:1-s\.gpu_ids\.0: node node-a/],
    ['{"node_id":"node-z"}', /^the result of policy p:1-s\.node_id: no node "node-z"/],
  ])("is refused by the field that does not hold: %s", async (json, message) => {
    await expect(choose(json)).rejects.toMatchObject({
      reason: "POLICY_FAILED",
      message: expect.stringMatching(message),
    });
  });
});

describe("a dry run by a policy that names a place without a score", () => {
  const policy = { policyRuleUri: "p:1-s", parameters: {}, settings: {} };
  const dryRun = async (json: string) =>
    (await returning(json)).dryRun(policy, block(), AbortSignal.timeout(5_000));

  it("has the score 1 when the place is free, and 0 with the reason when it is not", async () => {
    const place = { node_id: "node-a", gpus: [2, 3] };
    const free = { selection_score_data: { score: 1, node_info: place } };
    expect(await dryRun(JSON.stringify(place))).toEqual(free);
    await fleet.blocks.ledger.lease({
      ...{ leaseId: "l", subject: "s", ttlMs: 60_000, storeId: "" },
      claim: {
        ...{ nodeId: "node-a", devices: [{ uuid: "GPU-3" }] },
        ...{ cpuMillis: 0, memoryMiB: 0, storageMiB: 0 },
      },
    });
    const reasons = [expect.stringMatching(/GPU 3 \(GPU-3\) is held by lease l \(of s\)/)];
    const taken = { selection_score_data: { score: 0, node_info: {}, reasons } };
    expect(await dryRun(JSON.stringify(place))).toEqual(taken);
    const own = { selection_score_data: { score: 0.5, node_info: place } };
    expect(JSON.parse(JSON.stringify(await dryRun(JSON.stringify(own))))).toEqual(own);
  });

  it.each([
    ['{"node_id":"node-a","gpus":[9]}', /gpus\.0: node node-a has GPUs/],
    ['{"node_id":"node-z"}', /node_id: no node "node-z"/],
  ])("fails where there is no such place: %s", async (json, message) => {
    await expect(dryRun(json)).rejects.toMatchObject({
      reason: "POLICY_FAILED",
      message: expect.stringMatching(message),
    });
  });
});
