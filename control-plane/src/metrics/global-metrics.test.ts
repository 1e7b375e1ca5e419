import { Pacer, systemClock } from "@berth/service-kit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { aDocument, aGpu, aView } from "../testing/documents.ts";
import { gpuMetrics, metricsView, nodeMetrics } from "../testing/metrics-views.ts";
import { GlobalMetrics } from "./global-metrics.ts";

const orgId = "default_org";
const never = new AbortController().signal;
const clock = { ...systemClock, nowMs: () => 5_000 };

function metricsOf(views: readonly ClusterView[]): GlobalMetrics {
  const clusters = new Map(views.map((view) => [view.id, view]));
  const snapshot = async () => ({ revision: 1, clusters });
  return new GlobalMetrics({ clusters: { snapshot }, pace: new Pacer(), clock });
}

const gpu = (cudaUtilization: number) => gpuMetrics(0, { cudaUtilization });
const withGpus = (view: ClusterView, gpus: Parameters<typeof aDocument>[1]): ClusterView => ({
  ...view,
  document: aDocument(view.id, gpus),
});

/** "a" is live with a dead node, "b" unreachable, "r" registered without an agent. */
function threeClusters(): readonly ClusterView[] {
  const one = nodeMetrics("n1", [64, 50, 60_000, 4_000], { gpus: [gpu(90), gpu(30)] });
  const two = nodeMetrics("n2", [32, 25, 20_000, 12_000], { gpus: [gpu(0)] });
  const dead = nodeMetrics("n3", [8, 100, 0, 64_000], { status: "unhealthy", gpus: [gpu(100)] });
  const live = metricsView("a", [one, two, dead]);
  const lost = metricsView("b", [one], { health: "unreachable", reportedAtMs: 1_000 });
  const a100 = { modelName: "NVIDIA A100" };
  return [
    withGpus(live, [aGpu("0"), aGpu("1", { state: "leased" }), aGpu("2", a100)]),
    withGpus(lost, [aGpu("0", a100)]),
    {
      ...withGpus(aView("r", { health: "unknown" }), []),
      document: { ...aDocument("r"), gpus: { count: 4, memory: 0 } },
      ...{ metrics: null, metricsJson: null, reportedAtMs: null },
    },
  ];
}

const idsOf = async (metrics: GlobalMetrics, filter: unknown) =>
  (await metrics.query({ orgId, filter, signal: never })).map(({ view }) => view.id);

describe("GlobalMetrics", () => {
  it("tells the totals, the health and the age beside the nested document", async () => {
    const metrics = metricsOf(threeClusters());
    const data = JSON.parse((await metrics.cluster(orgId, "a")).json());
    expect(data).toMatchObject({
      clusterId: "a",
      nodes: [{ id: "n1" }, { id: "n2" }, { id: "n3" }],
      total_cpu: 96,
      used_cpu: 40,
      total_memory: 96_000,
      used_memory: 16_000,
      total_gpus: 3,
      gpu_utilization: 40,
      health: "live",
      age_ms: 5_000,
    });
    const lost = JSON.parse((await metrics.cluster(orgId, "b")).json());
    expect(lost).toMatchObject({ health: "unreachable", age_ms: 4_000, total_cpu: 64 });
    expect(JSON.parse((await metrics.cluster(orgId, "r")).json())).toEqual({
      clusterId: "r",
      cluster: {},
      nodes: [],
      total_cpu: 8,
      used_cpu: null,
      total_memory: 32_000,
      used_memory: null,
      total_gpus: 4,
      gpu_utilization: null,
      health: "unknown",
      age_ms: null,
    });
    await expect(metrics.cluster(orgId, "none")).rejects.toMatchObject({
      reason: "NOT_FOUND",
      message: "cluster not found: none",
    });
  });

  it("finds clusters in the order of their ids", async () => {
    const metrics = metricsOf(threeClusters());
    expect(await idsOf(metrics, {})).toEqual(["a", "b", "r"]);
    expect(await idsOf(metrics, { used_cpu: { $gte: 32 } })).toEqual(["a", "b"]);
    expect(await idsOf(metrics, { "nodes.gpus.cudaUtilization": 100 })).toEqual(["a"]);
    expect(await idsOf(metrics, { health: "unknown" })).toEqual(["r"]);
  });

  it("sums over clusters; what is left of an unreachable one is not known", async () => {
    const sums = await metricsOf(threeClusters()).aggregate({ orgId, filter: {}, signal: never });
    expect(sums).toEqual({
      clusters: { total: 3, live: 1, unreachable: 1, unknown: 1 },
      nodes: { total: 3, healthy: 2 },
      total_cpu: 96 + 8,
      used_cpu: 40,
      total_memory: 96_000 + 32_000,
      used_memory: 16_000,
      total_gpus: 3 + 4,
      gpu_utilization: (90 + 30 + 0) / 3,
      gpus: {
        count: 3 + 1 + 4,
        by_state: { free: 2, leased: 1, allocated: 0, cordoned: 0, unhealthy: 1, unknown: 4 },
        by_model: { unknown: 4, "NVIDIA A100": 2, "NVIDIA T4": 2 },
      },
    });
  });

  it("sums alike in any order, and as before when a cluster has come and gone", async () => {
    // Quarters, so that sums are exact.
    const node = fc
      .record({
        ...{ cores: fc.nat(64), busy: fc.nat(4), free: fc.nat(1_000), used: fc.nat(1_000) },
        status: fc.constantFrom<"healthy" | "unhealthy">("healthy", "unhealthy"),
        gpus: fc.array(fc.nat(100), { maxLength: 4 }),
      })
      .map(({ cores, busy, free, used, status, gpus }) =>
        nodeMetrics("n", [cores, busy * 25, free, used], { status, gpus: gpus.map(gpu) }),
      );
    const view = fc
      .tuple(fc.array(node, { maxLength: 3 }), fc.constantFrom("live", "unreachable"))
      .map(
        ([nodes, health]) =>
          (id: string) =>
            metricsView(id, nodes, { health }),
      );
    const views = fc
      .array(view, { maxLength: 6 })
      .map((made) => made.map((of, index) => of(`c${index}`)));
    const shuffled = views.chain((list) =>
      fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
    );
    const sumsOf = (list: readonly ClusterView[], filter: object = {}) =>
      metricsOf(list).aggregate({ orgId, filter, signal: never });
    await fc.assert(
      fc.asyncProperty(shuffled, view, async ([list, other], joining) => {
        const before = await sumsOf(list);
        expect(await sumsOf(other)).toEqual(before);
        const joined = [...list, joining("joined")];
        const during = await sumsOf(joined);
        const alone = await sumsOf(joined, { clusterId: "joined" });
        for (const key of ["total_cpu", "used_cpu", "used_memory", "total_gpus"] as const) {
          expect(during[key]).toBe((before[key] ?? 0) + (alone[key] ?? 0));
        }
        expect(during.clusters.total).toBe(before.clusters.total + 1);
        expect(await sumsOf(joined, { clusterId: { $ne: "joined" } })).toEqual(before);
      }),
    );
  });

  it("sums nothing to 0, and knows what it does not know", async () => {
    const metrics = metricsOf(threeClusters());
    const nothing = await metrics.aggregate({ orgId, filter: { clusterId: "x" }, signal: never });
    expect(nothing).toMatchObject({ clusters: { total: 0 }, total_cpu: 0, gpu_utilization: null });
    const one = await metrics.aggregate({ orgId, filter: { clusterId: "r" }, signal: never });
    expect(one).toMatchObject({ total_cpu: 8, used_cpu: null, gpu_utilization: null });
  });

  it("names the 100 most frequent models", async () => {
    const gpus = Array.from({ length: 150 }, (_, n) => aGpu(`${n}`, { modelName: `model-${n}` }));
    const views = [
      withGpus(metricsView("a", []), [...gpus, aGpu("x", { modelName: "model-149" })]),
    ];
    const { gpus: counts } = await metricsOf(views).aggregate({ orgId, filter: {}, signal: never });
    expect(Object.keys(counts.by_model)).toHaveLength(101);
    expect(counts.by_model).toMatchObject({ "model-149": 2, other: 50 });
  });

  it("lets others have their turn, and ends when nobody waits any more", async () => {
    const views = Array.from({ length: 3_000 }, (_, n) =>
      metricsView(`c${n}`, [nodeMetrics("n", [1, 1, 1, 1], { gpus: Array(100).fill(gpu(1)) })]),
    );
    const metrics = metricsOf(views);
    const gone = new AbortController();
    const filter = { "nodes.gpus.cudaUtilization": { $gt: 1 } };
    const work = metrics.query({ orgId, filter, signal: gone.signal });
    setImmediate(() => gone.abort(new Error("the client is gone")));
    await expect(work).rejects.toThrow("the client is gone");
  });

  it("refuses what takes too long, unless another condition leaves little to look at", async () => {
    const node = nodeMetrics("n", [1, 1, 1, 1], { gpus: Array(8).fill(gpu(1)) });
    const metrics = metricsOf([metricsView("c0", Array(2_000).fill(node)), metricsView("c1", [])]);
    const conditions = Array.from({ length: 100 }, (_, n) => ({
      "nodes.gpus.cudaUtilization": { $gt: 100 + n },
    }));
    const costly = { $or: conditions };
    await expect(idsOf(metrics, costly)).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      message: expect.stringContaining("query: takes more than 50 ms on one document"),
    });
    expect(await idsOf(metrics, { ...costly, clusterId: "c1" })).toEqual([]);
  });
});
