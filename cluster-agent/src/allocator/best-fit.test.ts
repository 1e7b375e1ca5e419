import { describe, expect, it } from "vitest";
import type { RequestedResources } from "../blocks/entry-reading.ts";
import type { AllocationHold, Claim, GpuCapacity } from "../ledger/claim.ts";
import { bestFit, type CandidateNode } from "./best-fit.ts";

const NEED: RequestedResources = {
  gpus: 1,
  gpuMemoryMiB: undefined,
  cpuMillis: 1_000,
  memoryMiB: 1_024,
  storageMiB: 0,
};

function gpu(node: string, slot: number, more: Partial<GpuCapacity> = {}): GpuCapacity {
  const uuid = `${node}-${slot}`;
  return { uuid, slot, memoryMiB: 80_000, migEnabled: false, migDevices: [], ...more };
}

function hold(claim: Partial<Claim> & { readonly nodeId: string }): AllocationHold {
  const amounts = { cpuMillis: 0, memoryMiB: 0, storageMiB: 0 };
  return {
    kind: "allocation",
    id: `h-${JSON.stringify(claim)}`,
    claim: { devices: [], ...amounts, ...claim },
    purpose: { blockId: "b", instanceId: "i", operationId: "o" },
    state: "committed",
    takenAt: "2026-11-22T00:00:00Z",
  };
}

function node(
  nodeId: string,
  gpus: readonly GpuCapacity[],
  more: { holds?: readonly AllocationHold[]; links?: string[][]; refusal?: string } = {},
): CandidateNode {
  const { holds = [], links = [], refusal } = more;
  const amounts = { cpuMillis: 64_000, memoryMiB: 512_000, storageMiB: 1_000_000 };
  return { capacity: { nodeId, gpus, refusal, ...amounts }, holds, links };
}

const eight = (id: string) => Array.from({ length: 8 }, (_, slot) => gpu(id, slot));
const holding = (id: string, slots: readonly number[]) =>
  slots.map((slot) => hold({ nodeId: id, devices: [{ uuid: `${id}-${slot}` }] }));

function placedAt(
  nodes: readonly CandidateNode[],
  need: Partial<RequestedResources>,
  without = [""],
) {
  const placed = bestFit(nodes, { ...NEED, ...need }, new Set(without));
  if (placed.kind === "unschedulable") return placed.reasons;
  const { nodeId, devices } = placed.claim;
  return [nodeId, ...devices.map(({ uuid, memoryMiB }) => [uuid, memoryMiB ?? "whole"].join(" "))];
}

describe("bestFit", () => {
  it("fills a node up before it breaks another one, and takes the first by id of equals", () => {
    const nodes = [node("b", eight("b")), node("a", eight("a"))];
    expect(placedAt(nodes, {})).toEqual(["a", "a-0 whole"]);
    const broken = [node("a", eight("a")), node("b", eight("b"), { holds: holding("b", [0, 1]) })];
    expect(placedAt(broken, {})).toEqual(["b", "b-2 whole"]);
  });

  it("keeps nodes with GPUs free of blocks without", () => {
    const nodes = [node("a", eight("a")), node("z", [])];
    expect(placedAt(nodes, { gpus: 0 })).toEqual(["z"]);
  });

  it("takes GPUs that are linked best", () => {
    const path = (a: number, b: number) =>
      a === b ? "X" : Math.floor(a / 2) === Math.floor(b / 2) ? "NV12" : "SYS";
    const links = Array.from({ length: 8 }, (_, a) =>
      Array.from({ length: 8 }, (_, b) => path(a, b)),
    );
    const nodes = [node("a", eight("a"), { links, holds: holding("a", [0, 3]) })];
    expect(placedAt(nodes, { gpus: 2 })).toEqual(["a", "a-4 whole", "a-5 whole"]);
    expect(placedAt(nodes, { gpus: 4 })).toEqual(["a", ...[4, 5, 6, 7].map((n) => `a-${n} whole`)]);
  });

  it("leaves out what is excluded, unhealthy, held, or in MIG", () => {
    const gpus = [
      gpu("a", 0),
      gpu("a", 1, { refusal: "XID 79" }),
      gpu("a", 2, { migEnabled: true }),
      gpu("a", 3),
      gpu("a", 4),
    ];
    const nodes = [node("a", gpus, { holds: holding("a", [3]) })];
    expect(placedAt(nodes, {}, ["a-0"])).toEqual(["a", "a-4 whole"]);
    expect(placedAt(nodes, { gpus: 3 })).toEqual(["node a has 2 free GPUs, 3 were asked for"]);
  });

  it("takes for a share the fullest GPU that has it, and a part of MIG that is no larger than need be", () => {
    const share = hold({ nodeId: "a", devices: [{ uuid: "a-1", memoryMiB: 50_000 }] });
    const nodes = [node("a", [gpu("a", 0), gpu("a", 1)], { holds: [share] })];
    expect(placedAt(nodes, { gpuMemoryMiB: 30_000 })).toEqual(["a", "a-1 30000"]);
    expect(placedAt(nodes, { gpuMemoryMiB: 40_000 })).toEqual(["a", "a-0 40000"]);
    const parts = [
      { uuid: "m-20", memoryMiB: 20_000 },
      { uuid: "m-40", memoryMiB: 40_000 },
    ];
    const cut = node("c", [gpu("c", 0, { migEnabled: true, migDevices: parts })]);
    expect(placedAt([cut], { gpuMemoryMiB: 25_000 })).toEqual(["c", "m-40 whole"]);
    expect(placedAt([cut], { gpus: 2, gpuMemoryMiB: 25_000 })).toEqual([
      "node c has too few GPUs with 25000 MiB free, 2 were asked for",
    ]);
  });

  it("says of each node why not", () => {
    const nodes = [
      node("a", eight("a"), { refusal: "telemetry lost" }),
      node("b", [], { holds: [hold({ nodeId: "b", cpuMillis: 63_500 })] }),
    ];
    expect(placedAt(nodes, {})).toEqual([
      "nothing may be taken of node a: telemetry lost",
      "node b has 500 of 64000 CPU millis free, 1000 were asked for",
    ]);
    expect(placedAt([], {})).toEqual(["the cluster has no node"]);
  });
});
