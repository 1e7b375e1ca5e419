import type { GpuMetrics, NodeMetrics } from "@berth/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fingerprint, gpuSample, hostSample, registerRequest } from "../testing/fixtures.ts";
import { registered, testRegistry } from "../testing/registry.ts";
import { aggregateMetrics } from "./aggregate-metrics.ts";
import { nodeMetrics } from "./node-metrics.ts";

const maybe = (values: fc.Arbitrary<number>) => fc.option(values, { nil: undefined });
const group = (...keys: string[]) =>
  fc.record(Object.fromEntries(keys.map((key) => [key, maybe(fc.nat(2 ** 20))]))).map((values) => {
    const known = Object.entries(values).filter(([, value]) => value !== undefined);
    return Object.fromEntries(known) as Record<string, number>;
  });
const gpu: fc.Arbitrary<GpuMetrics> = fc
  .tuple(
    group("usedMem", "freeMem", "totalMem", "cudaUtilization", "temperature"),
    fc.constantFrom("free" as const, "unhealthy" as const),
  )
  .map(([values, state]) => {
    return { gpu_id: 0, id: "0", uuid: "GPU-0", state, quality: "measured", ...values };
  });
const node = fc
  .record({
    id: fc.string({ minLength: 1 }),
    status: fc.constantFrom("healthy" as const, "unhealthy" as const),
    memory: group("freeMem", "usedMem", "averageUtil"),
    vcpu: group("count", "utilization", "load15m", "load_15m"),
    storage: group("freeMem").map((disks) => ({ ...disks, disks: { memory: disks } })),
    network: group("txBytesTotal"),
    gpus: fc.array(gpu, { maxLength: 4 }),
  })
  .map((values): NodeMetrics => {
    const free = values.gpus.filter(({ state }) => state === "free").length;
    return { ...values, node_id: values.id, age_ms: 0, quality: "measured", free_gpus: free };
  });
const fleet = fc.uniqueArray(node, { selector: ({ id }) => id, maxLength: 8 });

const SUMMED = [
  ["memory", "freeMem"],
  ["vcpu", "count"],
  ["storage", "disks.memory.freeMem"],
  ["network", "txBytesTotal"],
  ["gpu", "totalUsedMem"],
  ["gpu", "count"],
  ["gpu", "free_gpus"],
  ["gpu", "unhealthy_gpus"],
] as const;
const valueAt = (nodes: readonly NodeMetrics[], name: string, key: string) =>
  aggregateMetrics(nodes)[name]?.[key] ?? 0;

describe("aggregateMetrics", () => {
  it("does not depend on the order of the nodes", () => {
    fc.assert(
      fc.property(
        fleet.chain((nodes) =>
          fc.tuple(fc.constant(nodes), fc.shuffledSubarray(nodes, { minLength: nodes.length })),
        ),
        ([nodes, shuffled]) => {
          expect(aggregateMetrics(shuffled)).toEqual(aggregateMetrics(nodes));
        },
      ),
    );
  });

  it("adds exactly what a node has, so that its removal undoes its addition", () => {
    fc.assert(
      fc.property(fleet, (nodes) => {
        const [added, ...rest] = nodes;
        if (added === undefined) return;
        for (const [name, key] of SUMMED) {
          const sum = valueAt(rest, name, key) + valueAt([added], name, key);
          expect(valueAt(nodes, name, key)).toBe(sum);
        }
      }),
    );
  });

  it("has averages between the least and the greatest of the nodes that tell them", () => {
    fc.assert(
      fc.property(fleet, (nodes) => {
        const told = nodes
          .filter(({ status }) => status === "healthy")
          .flatMap(({ memory }) => memory.averageUtil ?? []);
        const average = aggregateMetrics(nodes).memory?.averageUtil;
        expect(average === undefined).toBe(told.length === 0);
        if (average === undefined) return;
        expect(average).toBeGreaterThanOrEqual(Math.min(...told));
        expect(average).toBeLessThanOrEqual(Math.max(...told));
      }),
    );
  });

  it("never tells a number that is none", () => {
    fc.assert(
      fc.property(fleet, (nodes) => {
        const numbers = Object.values(aggregateMetrics(nodes)).flatMap(Object.values);
        expect(numbers.filter((value) => !Number.isFinite(value))).toEqual([]);
      }),
    );
  });

  it("is what it was before when a node falls silent, and comes back", async () => {
    const { nodes, clock } = await testRegistry();
    const join = (nodeId: string) => {
      const print = fingerprint({ machineId: nodeId, gpus: [`GPU-${nodeId}`] });
      return registered(nodes, registerRequest({ nodeId, fingerprint: print }));
    };
    const report = async (at: Awaited<ReturnType<typeof join>>) =>
      nodes.report(at, { host: hostSample(), gpus: [gpuSample(`GPU-${at.nodeId}`)] });
    const aggregate = () => aggregateMetrics(nodes.views().map(nodeMetrics));
    const first = await join("n1");
    await report(first);
    const alone = aggregate();
    const second = await join("n2");
    await report(second);
    const both = aggregate();
    expect(both).toMatchObject({
      memory: { usedMem: 32_000, averageUtil: 25 },
      gpu: { count: 2, free_gpus: 2, unhealthy_gpus: 0, avgCudaUtilization: 50 },
    });
    clock.advance(15_001);
    await report(first);
    expect(aggregate()).toEqual(alone);
    await report(second);
    expect(aggregate()).toEqual(both);
  });
});
