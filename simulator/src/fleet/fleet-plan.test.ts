import { expect, it } from "vitest";
import { clusterPorts, fleetIntervals, fleetText, parseFleetSize } from "./fleet-plan.ts";

it("reads a fleet and writes it again", () => {
  const size = parseFleetSize(" 3X4x8 ");
  expect(size).toEqual({ clusters: 3, nodesPerCluster: 4, gpusPerNode: 8 });
  expect(fleetText(size)).toBe("3x4x8");
});

it.each(["", "3x4", "3x4x8x1", "0x1x1", "1x0x1", "1001x1x1", "1000x100x1", "1x1x65", "axbxc"])(
  "refuses the fleet %j",
  (text) => {
    expect(() => parseFleetSize(text)).toThrow("such as 3x4x8");
  },
);

it("samples small fleets every second and large ones as seldom as one process needs", () => {
  expect(fleetIntervals(parseFleetSize("3x4x8"), 0)).toEqual({
    gpuMs: 1_000,
    hostMs: 5_000,
    ttlMs: 15_000,
  });
  const large = fleetIntervals(parseFleetSize("100x100x8"), 0);
  expect(large.gpuMs).toBeGreaterThanOrEqual(30_000);
  expect(large.ttlMs).toBe(3 * large.gpuMs);
  expect(fleetIntervals(parseFleetSize("100x100x8"), 2_000).gpuMs).toBe(2_000);
});

it("gives each cluster two ports of its own, and any where there are no more", () => {
  expect(clusterPorts(0)).toEqual({ http: 32_000, node: 32_001 });
  expect(clusterPorts(99)).toEqual({ http: 32_990, node: 32_991 });
  expect(clusterPorts(4_000)).toEqual({ http: 0, node: 0 });
});
