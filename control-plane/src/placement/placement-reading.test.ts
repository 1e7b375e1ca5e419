import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import type { ClusterBlocks } from "../fleet/agent-api.ts";
import { someGpus, testNode, viewOf } from "../testing/fleet-views.ts";
import { blockNeed } from "./block-need.ts";
import { roomIn } from "./cluster-room.ts";
import { readDryRun } from "./dry-run-answer.ts";
import { mannersOf, readWanted, wantedOf } from "./placement-request.ts";

const read = (json: string) => readWanted(wantedOf(parseLossless(json) as Record<string, unknown>));

describe("a request for a placement", () => {
  it("is the entry itself, or has it beside its options, with its numbers as written", () => {
    const flat = read('{"id":"b","parameters":{"t":1.0},"clusters":["c1"],"wait":false,"top_k":2}');
    expect(flat).toMatchObject({ blockId: "b", topK: 2, selection: { kind: "ids", ids: ["c1"] } });
    expect(flat.entryJson).toBe('{"id":"b","parameters":{"t":1.0}}');
    const nested = read(
      '{"block_data":{"id":"b","wait":1},"policy_rule_uri":"p","parameters":{"a":1},"inputs":2}',
    );
    expect(nested.entryJson).toBe('{"id":"b","wait":1}');
    expect(nested.ranking).toEqual({
      ...{ policyRuleUri: "p", parameters: { a: 1, inputs: 2 }, settings: {} },
    });
  });

  it("takes the policy of the block's own clusterAllocator, with its parameters and settings or as its URI alone", () => {
    const policyOf = (clusterAllocator: unknown) =>
      readWanted({ block_data: { id: "b", policies: { clusterAllocator } } }).blockPolicy;
    const more = { parameters: { a: 1 }, settings: { b: 2 } };
    expect(policyOf({ policyRuleURI: "own:1-t", ...more })).toEqual({
      policyRuleUri: "own:1-t",
      ...more,
    });
    expect(policyOf("own:1-t")).toEqual({
      ...{ policyRuleUri: "own:1-t", parameters: {}, settings: {} },
    });
    expect(policyOf({ policyRuleURI: "", parameters: {} })).toBeUndefined();
    expect(policyOf(undefined)).toBeUndefined();
    expect(() => policyOf({ policyRuleURI: "own:1-t", settings: 7 })).toThrow(
      "policies.clusterAllocator.settings: expected an object",
    );
  });

  it("uses the filter of the block's own clusterAllocator where it selects no clusters", () => {
    const filter = { clusterQuery: { variable: "id", operator: "==", value: "c1" } };
    const entry = { id: "b", policies: { clusterAllocator: { parameters: { filter } } } };
    expect(read(JSON.stringify(entry)).selection.kind).toBe("filter");
    expect(read(JSON.stringify({ ...entry, clusters: ["c1"] })).selection.kind).toBe("ids");
  });

  it.each([
    ["{}", "id: expected the id of the block, got nothing"],
    ['{"block_data":[]}', "block_data: expected the entry of a block, got array"],
    ['{"block_data":{"id":"b"},"topK":1}', "topK: unknown field"],
    ['{"id":"b","top_k":0}', "top_k: expected a whole number from 1 to 50"],
    ['{"id":"b","clusters":7}', "clusters: expected an array"],
    ['{"id":"b","policy_rule_uri":7}', "policy_rule_uri: expected a text"],
  ])("%s is refused by name", (json, message) => {
    expect(() => read(json)).toThrow(message);
  });

  it.each([
    [{}, 60_000],
    [{ wait: false, timeout_ms: 5 }, 0],
    [{ timeout_ms: 5 }, 5],
  ])("with %j waits %i ms", (fields, waitMs) => {
    expect(mannersOf(fields).waitMs).toBe(waitMs);
  });

  it.each([[{ wait: 1 }], [{ timeout_ms: -1 }], [{ timeout_ms: "x" }], [{ idempotency_key: "" }]])(
    "with %j is refused",
    (fields) => {
      const [name = ""] = Object.keys(fields);
      expect(() => mannersOf(fields)).toThrow(new RegExp(`^${name}: expected`));
    },
  );
});

describe("what a block needs", () => {
  it.each([
    [{}, { planned: 1, instances: 1, gpus: 0 }],
    [{ minInstances: 0 }, { planned: 0, instances: 1 }],
    [
      { minInstances: "3", resources: { gpus: 2 } },
      { planned: 3, gpus: 2, isWhole: true },
    ],
    [{ resources: { gpus: 1, gpuMemoryMiB: 10 } }, { gpus: 1, isWhole: false }],
    [{ policies: { resourceAllocator: { parameters: { gpus: 4 } } } }, { gpus: 4 }],
    [{ resources: { gpus: 9 }, policies: { resourceAllocator: "p:1-t" } }, { gpus: 0 }],
  ])("of %j is %j", (entry, need) => {
    expect(blockNeed(entry)).toMatchObject(need);
  });
});

describe("the room in a cluster", () => {
  const told: ClusterBlocks = {
    clusterId: "c1",
    ledger: { state: "open", generation: 1, revision: "1" },
    ...{ blocks: new Map(), operations: new Map(), allocations: [], leases: [] },
    ...{ isBehind: false, isLive: true },
  };
  const view = viewOf("c1", [testNode("n1", someGpus(3)), testNode("n2", someGpus(2))]);
  const need = (entry: object) => blockNeed(entry as Record<string, unknown>);

  it.each([
    [2, 2, "may"],
    [2, 3, "not"],
    [4, 1, "not"],
    [0, 9, "may"],
  ])("for instances of %i GPUs, %i of them: %s", (gpus, minInstances, kind) => {
    expect(roomIn(view, told, need({ minInstances, resources: { gpus } })).kind).toBe(kind);
  });

  it("is not judged while its view is behind, nor by GPUs that are shared or cut", () => {
    const large = need({ resources: { gpus: 8 } });
    expect(roomIn(view, { ...told, isBehind: true }, large).kind).toBe("may");
    const parts = [0, 1, 2].map((part) => ({ uuid: `MIG-${part}`, memory: 1 }));
    const cut = someGpus(1, { state: "allocated", migDevices: parts as never });
    const cluster = viewOf("c1", [testNode("n1", cut)]);
    expect(roomIn(cluster, told, need({ resources: { gpus: 3 } })).kind).toBe("may");
    const shared = need({ resources: { gpus: 1, gpuMemoryMiB: 5 } });
    const taken = viewOf("c1", [testNode("n1", someGpus(1, { state: "allocated" }))]);
    expect(roomIn(taken, told, shared).kind).toBe("may");
  });

  it("counts the memory that instances and leases hold", () => {
    const claim = { node_id: "n1", gpus: [], cpu_millis: 0, memory: 31_000, storage: 0 };
    const lease = { ...claim, lease_id: "l", subject: "s", ttl_left_ms: 1, renewals: 0, age_ms: 0 };
    const held = { ...told, leases: [lease, { ...lease, node_id: "n2" }] };
    const room = roomIn(view, held, need({ resources: { memoryMiB: 2_000 } }));
    expect(room).toMatchObject({ kind: "not", message: "no node has 2000 MiB of memory free" });
  });

  it.each([
    [viewOf("c1", [], "unknown"), told, "it has no agent"],
    [viewOf("c1", [], "unreachable"), told, "it is unreachable"],
    [view, undefined, "its agent runs no blocks"],
    [view, { ...told, ledger: undefined }, "its agent runs no blocks"],
    [
      view,
      {
        ...told,
        ledger: { state: "closed", generation: 1, revision: "1", why: "n2 is not heard" },
      },
      "its ledger is closed: n2 is not heard",
    ],
  ] as const)("is none without an open ledger (%#)", (cluster, blocks, message) => {
    expect(roomIn(cluster, blocks, need({}))).toMatchObject({ kind: "not", message });
  });
});

describe("an answer to a dry run", () => {
  const body = (data: string) => `{"success":true,"data":${data}}`;

  it("names each instance's place, or the first one's, with the GPUs as they were written", () => {
    const first = '"node_info":{"node_id":"n1","gpus":[0,"GPU-1",{"id":"2","memory":5.0}]}';
    const one = readDryRun(body(`{"selection_score_data":{"score":0.90,${first}}}`));
    expect(one?.places).toEqual([
      { nodeId: "n1", gpusJson: '[0,"GPU-1",{"id":"2","memory":5.0}]' },
    ]);
    const all = '"placements":[{"node_id":"n1","gpus":[]},{"node_id":"n2","gpus":["1"]}]';
    const two = readDryRun(body(`{"selection_score_data":{"score":1,${first},${all}}}`));
    expect(two?.places.map(({ nodeId }) => nodeId)).toEqual(["n1", "n2"]);
    const beside = readDryRun(body(`{"selection_score_data":{"score":1,${first}},${all}}`));
    expect(beside?.places).toHaveLength(2);
  });

  it("without a place, or with none to be had, names none", () => {
    const nowhere = body('{"selection_score_data":{"score":0,"node_info":{},"reasons":["full"]}}');
    expect(readDryRun(nowhere)).toMatchObject({ score: 0, places: [], reasons: ["full"] });
    const unsaid = body('{"selection_score_data":{"score":1}}');
    expect(readDryRun(unsaid)).toMatchObject({ score: 1, places: [] });
  });

  it.each(["no json", "{}", body("null"), body('{"selection_score_data":{"score":2}}')])(
    "is not %s",
    (text) => expect(readDryRun(text)).toBeUndefined(),
  );
});
