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

/** Where the block goes when its policy returns this. */
async function choose(resultJson: string) {
  const facts = { interpreterMs: 0, log: [] };
  const { body } = await fleet.call("GET", "/cluster-actions/get-cluster");
  const allocator = new ResourceAllocator({
    placer: fleet.blocks.placer,
    policies: { run: async () => ({ kind: "done", resultJson, facts }) as never },
    cluster: { document: () => body.data, metrics: () => ({}) as never },
    nodes: { views: () => [] },
  });
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
