import { GpuInfoSchema } from "@berth/proto";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, it } from "vitest";
import { anyText } from "../testing/any-text.ts";
import { loadSmiFixture, SMI_FIXTURES } from "../testing/smi-fixture.ts";
import { parseTopology, topologyOf } from "./smi-topology.ts";

const gpu = (driverIndex: number) =>
  create(GpuInfoSchema, { uuid: `GPU-0000000${driverIndex}`, driverIndex });

it("reads the matrix of a DGX under its underlined header", async () => {
  const { topo } = await loadSmiFixture("h100");
  expect(topo).toContain("\u001b[4mGPU0");
  const matrix = parseTopology(topo.split("\n"));
  expect(matrix?.rows).toHaveLength(8);
  expect([...(matrix?.nics ?? [])].slice(0, 2)).toEqual([
    ["NIC0", "mlx5_0"],
    ["NIC1", "mlx5_1"],
  ]);
  const row = matrix?.rows[4];
  expect(row).toMatchObject({ driverIndex: 4, cpuAffinity: "52-103,156-207", numaAffinity: "1" });
  expect([row?.links.get("GPU0"), row?.links.get("GPU4"), row?.links.get("NIC4")]).toEqual([
    "NV18",
    "X",
    "PXB",
  ]);
});

it("reads the matrix of an older driver, whose columns bear the cards' own names", async () => {
  const { topo } = await loadSmiFixture("a100-mig");
  const matrix = parseTopology(topo.split("\n"));
  expect([...(matrix?.nics.values() ?? [])]).toEqual(["mlx5_0", "mlx5_1"]);
  expect(matrix?.rows[3]).toMatchObject({ cpuAffinity: "24-47", numaAffinity: "1" });
});

it("reads one GPU without NUMA, and indexes with a gap behind a line of complaint", async () => {
  const t4 = parseTopology((await loadSmiFixture("t4")).topo.split("\n"));
  expect(t4?.rows).toHaveLength(1);
  expect(t4?.rows[0]).toMatchObject({ cpuAffinity: "0-7", numaAffinity: "" });
  const failing = parseTopology((await loadSmiFixture("failing")).topo.split("\n"));
  expect(failing?.rows.map((row) => row.driverIndex)).toEqual([0, 1, 2, 4]);
  expect(failing?.rows[2]?.links.get("GPU4")).toBe("NV17");
});

it.each([
  ["GPU0\t X \t\t\t\tN/A", "", ""],
  ["GPU0\t X \tN/A\tN/A\t\tN/A", "", ""],
  ["GPU0\t X \t0,2,4,6\t0-1\t\tN/A", "0,2,4,6", "0-1"],
  ["GPU0\t X \t0-15\t\t\t1", "0-15", ""],
  ["GPU0\t X \t[Unknown Error]\tERR!\t\t", "", ""],
])("reads the affinities of %j", (row, cpuAffinity, numaAffinity) => {
  const header = "\tGPU0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID";
  expect(parseTopology([header, row])?.rows[0]).toMatchObject({ cpuAffinity, numaAffinity });
});

it("leaves out links in words it does not know, and rows that are cut short", () => {
  const header = "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity";
  const rows = ["GPU0\t X \t[N/A]\t0-3\t0", "GPU1\tSYS"];
  const matrix = parseTopology([header, ...rows]);
  expect(matrix?.rows).toHaveLength(1);
  expect([...(matrix?.rows[0]?.links ?? [])]).toEqual([["GPU0", "X"]]);
});

it.each([
  ["nothing", []],
  ["an error", ["No devices were found"]],
  ["a legend without a matrix", ["Legend:", "  X    = Self"]],
  ["a header alone", ["\tGPU0\tGPU1\tCPU Affinity"]],
])("has no matrix in %s", (_what, lines) => {
  expect(parseTopology(lines)).toBeUndefined();
});

it("names links in the fingerprint's order, and nothing of a GPU that was not surveyed", () => {
  const header = "\tGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity";
  const lines = [header, "GPU0\t X \tNV2\tPIX\t0-3\t0", "GPU1\tNV2\t X \tSYS\t4-7\t1"];
  const matrix = parseTopology(lines);
  if (matrix === undefined) throw new Error("expected a matrix");
  const topology = topologyOf(matrix, [gpu(0), gpu(1)], [gpu(1), gpu(0), gpu(5)]);
  expect(topology.nics).toEqual(["NIC0"]);
  expect(topology.rows.map((row) => row.links)).toEqual([
    ["X", "NV2", "", "SYS"],
    ["NV2", "X", "", "PIX"],
    ["", "", "", ""],
  ]);
  expect(topology.rows[2]).toMatchObject({ uuid: "GPU-00000005", cpuAffinity: "" });
});

it("never throws on noise, nor on recordings with characters changed or cut out", async () => {
  const recorded = await Promise.all(
    SMI_FIXTURES.map(async (name) => (await loadSmiFixture(name)).topo),
  );
  const check = (text: string) => {
    const matrix = parseTopology(text.split("\n"));
    if (matrix === undefined) return;
    const topology = topologyOf(matrix, [gpu(0)], [gpu(0), gpu(1)]);
    expect(topology.rows).toHaveLength(2);
    expect(topology.rows[0]?.links).toHaveLength(2 + topology.nics.length);
  };
  fc.assert(fc.property(anyText(500), check));
  fc.assert(
    fc.property(
      fc.constantFrom(...recorded),
      fc.nat(),
      fc.nat(60),
      fc.string({ unit: fc.constantFrom("\t", "\n", "X", "GPU1", "\u001b[4m", " ", "9") }),
      (text, where, length, put) => {
        const at = where % text.length;
        check(text.slice(0, at) + put + text.slice(at + length));
      },
    ),
  );
});
