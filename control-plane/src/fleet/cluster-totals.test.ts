import type { NodeMetrics } from "@berth/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { aDocument, aGpu, aView } from "../testing/documents.ts";
import { gpuMetrics, metricsView, nodeMetrics } from "../testing/metrics-views.ts";
import { clusterTotals, gpuCounts, totalsOfNodes } from "./cluster-totals.ts";

const utilizations = (...percents: readonly (number | undefined)[]) =>
  percents.map((cudaUtilization, slot) =>
    gpuMetrics(slot, cudaUtilization === undefined ? {} : { cudaUtilization }),
  );

describe("clusterTotals", () => {
  it("sums over the healthy nodes, and averages over their GPUs that tell it", () => {
    const nodes = [
      nodeMetrics("a", [64, 50, 60_000, 4_000], { gpus: utilizations(100, 40) }),
      nodeMetrics("b", [32, 25, 20_000, 12_000], { gpus: utilizations(10, undefined) }),
      nodeMetrics("dead", [128, 100, 0, 500_000], {
        status: "unhealthy",
        gpus: utilizations(100),
      }),
    ];
    expect(clusterTotals(metricsView("c", nodes))).toEqual({
      total_cpu: 64 + 32,
      used_cpu: 64 * 0.5 + 32 * 0.25,
      total_memory: 60_000 + 4_000 + 20_000 + 12_000,
      used_memory: 4_000 + 12_000,
      total_gpus: 4,
      gpu_utilization: (100 + 40 + 10) / 3,
    });
  });

  it("tells what the document says, and nothing used, without telemetry", () => {
    const agentless = { ...aView("c", { health: "unknown" }), metrics: null, metricsJson: null };
    const document = { ...aDocument("c", [aGpu("0"), aGpu("1")]) };
    expect(clusterTotals({ ...agentless, document })).toEqual({
      total_cpu: 8,
      used_cpu: null,
      total_memory: 32_000,
      used_memory: null,
      total_gpus: 2,
      gpu_utilization: null,
    });
    const bare = JSON.parse('{"id":"c","nodes":{"count":0,"nodeData":[]},"memory":"much"}');
    expect(clusterTotals({ ...agentless, document: bare })).toEqual({
      total_cpu: null,
      used_cpu: null,
      total_memory: null,
      used_memory: null,
      total_gpus: null,
      gpu_utilization: null,
    });
  });

  it("does not know what no node tells, and knows that no node is 0", () => {
    const mute = JSON.parse('{"id":"a","status":"healthy","gpus":[],"vcpu":{"count":"8"}}');
    expect(totalsOfNodes([mute])).toEqual({
      total_cpu: null,
      used_cpu: null,
      total_memory: null,
      used_memory: null,
      total_gpus: 0,
      gpu_utilization: null,
    });
    expect(totalsOfNodes([])).toMatchObject({
      total_cpu: 0,
      used_memory: 0,
      gpu_utilization: null,
    });
  });

  it("never tells an infinite sum", () => {
    const huge = (id: string) => nodeMetrics(id, [1e308, 100, 1e308, 1e308]);
    const totals = totalsOfNodes([huge("a"), huge("b")]);
    expect(totals).toMatchObject({ total_cpu: null, total_memory: null, used_memory: null });
  });
});

const percent = fc.option(fc.double({ min: 0, max: 100, noNaN: true }), { nil: undefined });
const anyNode = fc
  .tuple(
    fc.tuple(fc.nat(512), fc.double({ min: 0, max: 100, noNaN: true }), fc.nat(), fc.nat()),
    fc.constantFrom<"healthy" | "unhealthy">("healthy", "healthy", "unhealthy"),
    fc.array(percent, { maxLength: 8 }),
  )
  .map(([sizes, status, gpus]) => nodeMetrics("?", sizes, { status, gpus: utilizations(...gpus) }));
const anyNodes = fc
  .array(anyNode, { maxLength: 12 })
  .map((nodes) => nodes.map((node, index): NodeMetrics => ({ ...node, id: `node-${index}` })));

describe("totals of any nodes", () => {
  it("do not depend on their order", () => {
    const shuffled = anyNodes.chain((nodes) =>
      fc.tuple(
        fc.constant(nodes),
        fc.shuffledSubarray(nodes, { minLength: nodes.length, maxLength: nodes.length }),
      ),
    );
    fc.assert(
      fc.property(shuffled, ([nodes, other]) => {
        expect(totalsOfNodes(other)).toEqual(totalsOfNodes(nodes));
      }),
    );
  });

  it("are the same again when a node has come and gone, and differ by it meanwhile", () => {
    fc.assert(
      fc.property(anyNodes, anyNode, (nodes, node) => {
        const before = totalsOfNodes(nodes);
        const joined = [...nodes, { ...node, id: "joined" }];
        const during = totalsOfNodes(joined);
        const alone = totalsOfNodes([{ ...node, id: "joined" }]);
        expect(during.total_cpu).toBe((before.total_cpu ?? 0) + (alone.total_cpu ?? 0));
        expect(during.total_gpus).toBe((before.total_gpus ?? 0) + (alone.total_gpus ?? 0));
        expect(during.total_memory).toBe((before.total_memory ?? 0) + (alone.total_memory ?? 0));
        expect(totalsOfNodes(joined.filter(({ id }) => id !== "joined"))).toEqual(before);
      }),
    );
  });

  it("are finite or null, whatever agents say", () => {
    const junk = fc.record({
      id: fc.string(),
      status: fc.constantFrom("healthy", "unhealthy"),
      vcpu: fc.jsonValue({ maxDepth: 1 }),
      memory: fc.jsonValue({ maxDepth: 1 }),
      gpus: fc.array(
        fc.dictionary(fc.constantFrom("cudaUtilization", "x"), fc.jsonValue({ maxDepth: 1 })),
      ),
    });
    fc.assert(
      fc.property(fc.array(junk), (nodes) => {
        for (const value of Object.values(totalsOfNodes(nodes as never))) {
          expect(value === null || Number.isFinite(value)).toBe(true);
        }
      }),
    );
  });
});

describe("gpuCounts", () => {
  const gpus = [
    aGpu("0"),
    aGpu("1", { state: "allocated" }),
    aGpu("2", { state: "allocated", modelName: "NVIDIA A100" }),
    aGpu("3", { state: "unhealthy", modelName: "" }),
  ];

  it("counts by state and model, also of nodes that are dead", () => {
    const { total, byState, byModel } = gpuCounts(aView("c", { gpus }));
    expect(total).toBe(4);
    expect(Object.fromEntries(byState)).toEqual({ free: 1, allocated: 2, unhealthy: 1 });
    expect(Object.fromEntries(byModel)).toEqual({ "NVIDIA T4": 2, "NVIDIA A100": 1, unknown: 1 });
  });

  it("takes no GPU of an unreachable cluster for usable", () => {
    const { byState } = gpuCounts(aView("c", { gpus, health: "unreachable" }));
    expect(Object.fromEntries(byState)).toEqual({ unhealthy: 4 });
  });

  it("does not know the state of GPUs that a registered document counts but does not list", () => {
    const view = aView("c", { gpus: gpus.slice(0, 1), health: "unknown" });
    const document = { ...view.document, gpus: { count: 3, memory: 0 } };
    const { total, byState } = gpuCounts({ ...view, document });
    expect(total).toBe(3);
    expect(Object.fromEntries(byState)).toEqual({ free: 1, unknown: 2 });
    const odd = JSON.parse('{"nodes":{"nodeData":[{"id":"n","gpus":{"gpus":[{"state":7}]}},{}]}}');
    expect(Object.fromEntries(gpuCounts({ ...view, document: odd }).byState)).toEqual({
      unknown: 1,
    });
  });
});
