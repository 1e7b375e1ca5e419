import type { ClusterDocument, ClusterMetrics } from "@berth/proto";
import { expect, it } from "vitest";
import { allocatorInput, withoutGpus } from "./allocator-input.ts";

const gpu = (uuid: string, state: string) => ({
  id: "0",
  uuid,
  state,
  modelName: "H100",
  memory: 1,
});
const node = (id: string, ...gpus: object[]) => ({
  id,
  free_gpus: gpus.length,
  gpus: { count: gpus.length, gpus },
});
const cluster = {
  id: "c1",
  nodes: { count: 2, nodeData: [node("a", gpu("G0", "free"), gpu("G1", "unhealthy")), node("b")] },
} as unknown as ClusterDocument;

const facts = {
  action: "scale" as const,
  block: { json: '{"id":"echo","parameters":{"t":0.70}}' },
  cluster,
  metrics: { cluster_metrics: {}, node_metrics: [] } as unknown as ClusterMetrics,
  healthyNodes: ["a"],
  takenGpus: new Set<string>(),
  extraData: undefined,
};

it("has the seed's payload, the block with its cluster, and numbers as they were written", () => {
  const text = allocatorInput(facts);
  expect(text).toContain('"parameters":{"t":0.70}');
  expect(JSON.parse(text)).toEqual({
    action: "scale",
    payload: {
      action: "scale",
      block: { id: "echo", parameters: { t: 0.7 }, cluster },
      cluster,
      cluster_metrics: { cluster_metrics: {}, node_metrics: [] },
      healthy_nodes: ["a"],
      block_metrics: [],
      extra_data: {},
    },
  });
});

it("says of a reassignment which instance is moved, and what its client says of that", () => {
  const instance = { instanceId: "in-1", podName: "pid 7" };
  const extraData = { why: "hot" };
  const text = allocatorInput({ ...facts, action: "reassignment", instance, extraData });
  expect(JSON.parse(text).payload).toMatchObject({
    ...{ action: "reassignment", instance_id: "in-1", pod_name: "pid 7", extra_data: extraData },
  });
});

it("shows GPUs that are as good as taken as allocated, and no others", () => {
  const shown = withoutGpus(cluster, new Set(["G0", "G1", "elsewhere"]));
  const [first, second] = shown.nodes.nodeData;
  expect(first).toMatchObject({
    free_gpus: 0,
    gpus: {
      gpus: [
        { uuid: "G0", state: "allocated" },
        { uuid: "G1", state: "unhealthy" },
      ],
    },
  });
  expect(second).toBe(cluster.nodes.nodeData[1]);
  expect(withoutGpus(cluster, new Set())).toBe(cluster);
  expect(cluster.nodes.nodeData[0]?.gpus.gpus[0]?.state).toBe("free");
});
