import type { ClusterDocument } from "@berth/proto";
import { type BlockEntry, parseBlockEntry } from "../blocks/block-entry.ts";
import type { InstanceRecord } from "../blocks/block-records.ts";

/** The entry of a block as the existing deployment has it, with its numbers. */
export const CHAT_ENTRY = {
  id: "blk-7q2mzk1a",
  componentUri: "model.chat-7b:2.1.0-stable",
  blockUri: "model.chat-7b:2.1.0-stable",
  component: {
    componentId: { name: "chat-7b", version: "2.1.0", releaseTag: "stable" },
    componentType: "model",
    componentURI: "model.chat-7b:2.1.0-stable",
    containerRegistryInfo: {
      containerImage: "reg.example/llm/chat-7b:2.1.0",
      containerRegistryId: "reg-main",
      containerImageMetadata: { author: "llm" },
      componentMode: "aios",
      initContainer: {},
    },
    componentMetadata: { usecase: "chat" },
    componentInitSettings: { max_new_tokens: 256 },
    componentParameters: { temperature: 0.7 },
    policies: {},
    tags: ["chat"],
  },
  blockMetadata: { usecase: "chat" },
  policies: {
    resourceAllocator: {
      policyRuleURI: "alloc.bestfit:1.0-stable",
      parameters: { gpus: 1, min_gpu_free_memory: 20000 },
      settings: { selection_mode: "greedy" },
    },
    loadBalancer: { policyRuleURI: "lb.rr:1.0-stable", parameters: {}, settings: {} },
    autoscaler: {
      policyRuleURI: "as.queue:1.0-stable",
      parameters: { target: 8 },
      settings: { intervalSeconds: 30 },
    },
  },
  blockInitData: { weights: "/common/chat-7b", events: { oom: "events.notify:1.0-stable" } },
  initSettings: { max_new_tokens: 256 },
  parameters: { temperature: 0.7 },
  minInstances: 1,
  maxInstances: 6,
  inputProtocol: { message: { type: "string" } },
  outputProtocol: { reply: { type: "string" } },
  tags: ["chat"],
};

/** An entry with little in it. */
export function entryOf(id: string, more: Readonly<Record<string, unknown>> = {}): BlockEntry {
  return parseBlockEntry({ id, ...more });
}

/** An instance with one GPU. */
export function instanceOf(
  blockId: string,
  instanceId: string,
  more: Partial<InstanceRecord> = {},
): InstanceRecord {
  return {
    blockId,
    instanceId,
    nodeId: "node-a",
    devices: [{ uuid: `GPU-${instanceId}`, slot: 0, memoryMiB: 81_920 }],
    allocationId: `al-${instanceId}`,
    operationId: "op-1",
    createdAt: "2026-11-21T12:00:00.000Z",
    state: "wanted",
    ...more,
  };
}

/** A cluster with one node of one GPU. */
export function clusterOf(more: Partial<ClusterDocument> = {}): ClusterDocument {
  const node = {
    id: "node-a",
    gpus: {
      count: 1,
      memory: 81_920,
      gpus: [
        {
          id: "0",
          uuid: "GPU-1",
          modelName: "NVIDIA H100",
          memory: 81_920,
          state: "free" as const,
        },
      ],
      features: [],
      modelNames: ["NVIDIA H100"],
    },
    free_gpus: 1,
    vcpus: { count: 16 },
    memory: 64_000,
    swap: 0,
    storage: { disks: 1, size: 100_000 },
    network: { interfaces: 1, txBandwidth: 10_000, rxBandwidth: 10_000 },
    tags: [],
    nodeMetadata: {},
  };
  return {
    id: "c1",
    regionId: "eu",
    status: "live",
    nodes: { count: 1, nodeData: [node] },
    gpus: { count: 1, memory: 81_920 },
    vcpus: { count: 16 },
    memory: 64_000,
    swap: 0,
    storage: node.storage,
    network: node.network,
    config: { urlMap: { blocksQuery: "http://127.0.0.1:32000/blocks" } },
    tags: ["gpu"],
    clusterMetadata: { name: "c1" },
    reputation: 97,
    ...more,
  };
}
