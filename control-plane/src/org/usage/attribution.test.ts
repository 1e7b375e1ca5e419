import { expect, it } from "vitest";
import { gpuMetrics, metricsView, nodeMetrics } from "../../testing/metrics-views.ts";
import { clusterBlocks } from "../../testing/org-fixture.ts";
import { attributedUsage } from "./attribution.ts";

const GPUS = [
  gpuMetrics(0, { cudaUtilization: 50, totalMem: 80_000 }),
  gpuMetrics(1, { cudaUtilization: 100, totalMem: 80_000 }),
  gpuMetrics(2),
];
const view = metricsView("c1", [nodeMetrics("n1", [64, 25, 75_000, 25_000], { gpus: GPUS })], {
  reportedAtMs: 700,
});
const gpu = (slot: number, memory?: number) => ({
  uuid: `GPU-${slot}`,
  ...(memory === undefined ? {} : { memory }),
});
const owner = (_cluster: string, block: string) =>
  block === "nobodys" ? undefined : `of-${block}`;

it("counts a GPU by the share that is allocated and the time in which it was busy", () => {
  const blocks = clusterBlocks("c1", {}, [
    { block_id: "a", gpus: [gpu(0), gpu(2)] },
    { block_id: "a", gpus: [gpu(1, 20_000)] },
    { block_id: "b", gpus: [gpu(1, 40_000), gpu(9)] },
    { block_id: "nobodys", gpus: [gpu(1)] },
  ]);
  const all = attributedUsage([{ blocks, view }], owner);
  expect([...all.keys()]).toEqual(["of-a", "of-b"]);
  expect(all.get("of-a")?.gpuUsage).toBeCloseTo(0.75);
  expect(all.get("of-b")?.gpuUsage).toBeCloseTo(0.5);
});

it("counts CPU and memory by the share of what the node uses", () => {
  const blocks = clusterBlocks("c1", {}, [{ block_id: "a", cpu_millis: 8_000, memory: 1_000 }]);
  const all = attributedUsage([{ blocks, view }], owner);
  expect(all.get("of-a")).toEqual({ cpuUsage: 2, memoryUsage: 250, gpuUsage: 0, atMs: 700 });
});

it("joins clusters, is as old as the oldest, and knows nothing of nodes that never told", () => {
  const there = { blocks: clusterBlocks("c1", {}, [{ cpu_millis: 4_000 }]), view };
  const older = {
    blocks: clusterBlocks("c2", {}, [{ cpu_millis: 4_000 }]),
    view: { ...view, reportedAtMs: 300 },
  };
  const silent = { blocks: clusterBlocks("c3", {}, [{ cpu_millis: 4_000 }]), view: undefined };
  const all = attributedUsage([there, older, silent], owner);
  expect(all.get("of-b")).toMatchObject({ cpuUsage: 2, atMs: 300 });
  expect(attributedUsage([silent], owner).get("of-b")).toMatchObject({
    cpuUsage: 0,
    atMs: undefined,
  });
});
