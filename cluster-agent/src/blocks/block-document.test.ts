import { parseLossless, plainOf } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { CHAT_ENTRY, clusterOf, instanceOf } from "../testing/block-fixtures.ts";
import {
  type BlockFacts,
  blockDocument,
  blockDocumentText,
  leanCluster,
  type ObservedFacts,
  PlainBlockDocument,
  plainCluster,
} from "./block-document.ts";
import { parseBlockEntry } from "./block-entry.ts";
import { blockRecord } from "./block-records.ts";

const about = { operationId: "op-1", createdAt: "", updatedAt: "", phase: "running" as const };

const running: ObservedFacts = {
  ...{ phase: "running", isReady: true, restarts: 2, podName: "pid 4711" },
  endpoints: { control: "http://127.0.0.1:41001" },
};

function factsOf(more: Partial<BlockFacts> = {}, entry: unknown = CHAT_ENTRY): BlockFacts {
  const record = blockRecord(parseBlockEntry(entry), about);
  return { record, instances: [], observed: new Map(), ...more };
}

function documentOf(facts: BlockFacts, cluster: object = {}) {
  return JSON.parse(blockDocumentText(facts, JSON.stringify(cluster)));
}

describe("the document of a block", () => {
  it("is its entry with cluster, instances and status", () => {
    expect(documentOf(factsOf(), { id: "c1" })).toEqual({
      ...CHAT_ENTRY,
      cluster: { id: "c1" },
      instances: [],
      status: { phase: "running", instances: 0, ready: 0 },
    });
  });

  it("shows an instance with what the runtime tells of it", () => {
    const devices = [
      { uuid: "MIG-1", slot: 2, memoryMiB: 10_000 },
      { uuid: "GPU-2", slot: 0, memoryMiB: 81_920 },
    ];
    const instances = [instanceOf(CHAT_ENTRY.id, "in-x4k9", { devices, initDataJson: '{"n":1}' })];
    const observed = new Map([["in-x4k9", running]]);
    expect(documentOf(factsOf({ instances, observed })).instances).toEqual([
      {
        block_id: CHAT_ENTRY.id,
        instance_id: "in-x4k9",
        node_id: "node-a",
        gpus: [2, 0],
        gpu_uuids: ["MIG-1", "GPU-2"],
        phase: "running",
        ready: true,
        restarts: 2,
        pod_name: "pid 4711",
        endpoints: { control: "http://127.0.0.1:41001" },
        image: "reg.example/llm/chat-7b:2.1.0",
        allocation_id: "al-in-x4k9",
        created_at: "2026-11-21T12:00:00.000Z",
        init_data: { n: 1 },
      },
    ]);
  });

  it("has an instance pending while nothing is seen of it, terminating once it shall go, and counts", () => {
    const instances = [
      instanceOf(CHAT_ENTRY.id, "in-1"),
      instanceOf(CHAT_ENTRY.id, "in-2", { state: "removing" }),
      instanceOf(CHAT_ENTRY.id, "in-3"),
      instanceOf(CHAT_ENTRY.id, "in-4"),
    ];
    const restarting: ObservedFacts = {
      ...{ phase: "restarting", isReady: false, restarts: 5, message: "exited with 1" },
      endpoints: {},
    };
    const observed = new Map([
      ["in-2", running],
      ["in-3", running],
      ["in-4", restarting],
    ]);
    const shown = documentOf(factsOf({ instances, observed }));
    expect(shown.instances).toMatchObject([
      { phase: "pending", ready: false, restarts: 0, endpoints: {}, init_data: {} },
      { phase: "terminating", ready: false, restarts: 2 },
      { phase: "running", ready: true },
      { phase: "restarting", ready: false, restarts: 5, message: "exited with 1" },
    ]);
    expect(shown.status).toEqual({ phase: "running", instances: 3, ready: 1 });
  });

  it("tells why a block failed", () => {
    const { record } = factsOf();
    const failed = factsOf({ record: { ...record, phase: "failed", message: "no free GPU" } });
    const status = { phase: "failed", message: "no free GPU", instances: 0, ready: 0 };
    expect(documentOf(failed).status).toEqual(status);
  });

  it("keeps numbers as they were written, and is the same for filters with doubles", () => {
    const entry = '{"id":"b","parameters":{"t":1.0,"seed":12345678901234567890}}';
    const instances = [
      instanceOf("b", "in-1", { initDataJson: '{"rate":2.50}' }),
      instanceOf("b", "in-2"),
    ];
    const observed = new Map([["in-1", running]]);
    const facts = factsOf({ instances, observed }, parseLossless(entry));
    const text = blockDocumentText(facts, '{"reputation":97.0}');
    expect(text.startsWith(`${entry.slice(0, -1)},"cluster":{"reputation":97.0},`)).toBe(true);
    expect(text).toContain('"init_data":{"rate":2.50}');
    const document = blockDocument(facts, parseLossless('{"reputation":97.0}') as object);
    expect(JSON.stringify(document)).toBe(text);
    const before = { ...facts, instances: [] };
    const plain = new PlainBlockDocument(before);
    expect(plain.look(facts, { reputation: 97 })).toEqual(plainOf(parseLossless(text)));
    expect(plain.look(before, {})).toMatchObject({ instances: [], status: { instances: 0 } });
  });
});

describe("the cluster for filters", () => {
  it("is the whole one with numbers as doubles", () => {
    const weight = parseLossless("1.50");
    const cluster = clusterOf({ clusterMetadata: { weight } });
    expect(plainCluster(cluster)).toEqual({ ...cluster, clusterMetadata: { weight: 1.5 } });
  });
});

describe("the cluster in lists", () => {
  it("is the whole one without its nodes", () => {
    const cluster = clusterOf();
    expect(leanCluster(cluster)).toEqual({ ...cluster, nodes: { count: 1 } });
    expect(cluster.nodes.nodeData).toHaveLength(1);
  });
});
