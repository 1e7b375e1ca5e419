import { describe, expect, it } from "vitest";
import { chooseTarget, targetText } from "./choose-target.ts";
import { parseFault, parseFaultScript } from "./fault.ts";

const fleet = { name: "sim", size: { clusters: 2, nodesPerCluster: 3, gpusPerNode: 4 } };

describe("parseFault", () => {
  it.each([
    [
      "gpu-fail sim-0/node-1/3",
      { kind: "gpu-fail", afterMs: 0, cluster: "sim-0", node: 1, gpu: 3 },
    ],
    ["30s gpu-fail sim-0/node-1/3 2m", { kind: "gpu-fail", afterMs: 30_000, lastsMs: 120_000 }],
    ["node-partition 60s", { kind: "node-partition", afterMs: 0, lastsMs: 60_000 }],
    ["node-reboot", { kind: "node-reboot", lastsMs: 10_000 }],
    ["smi-hang sim-1", { kind: "smi-hang", cluster: "sim-1", lastsMs: 120_000 }],
    ["500ms link-cut sim-1 20s", { kind: "link-cut", afterMs: 500, lastsMs: 20_000 }],
    ["gpu-xid sim-0/node-0/0 48", { kind: "gpu-xid", xid: 48 }],
  ])("reads %j", (text, expected) => {
    expect(parseFault(text)).toMatchObject(expected);
  });

  it.each([
    ["", "expected one of gpu-fail"],
    ["meteor sim-0", "expected one of gpu-fail"],
    ["link-cut sim-0/node-1", "expected a cluster as the target of link-cut"],
    ["node-reboot sim-0/node-1/2", "expected a node as the target of node-reboot"],
    ["gpu-xid sim-0/node-0/0 many", "expected the number of an XID"],
    ["link-cut sim-0 20s 30s", 'expected nothing behind "30s"'],
  ])("refuses %j and says what it expected", (text, message) => {
    expect(() => parseFault(text)).toThrow(message);
  });

  it("reads a script by lines and semicolons, without comments", () => {
    const script = "30s gpu-fail # the first\n\n# nothing\n40s node-reboot; 50s link-cut\n";
    expect(parseFaultScript(script).map(({ kind }) => kind)).toEqual([
      "gpu-fail",
      "node-reboot",
      "link-cut",
    ]);
  });
});

describe("chooseTarget", () => {
  it("takes what the fault names", () => {
    const fault = parseFault("gpu-fail sim-1/node-2/3");
    const target = chooseTarget(fault, fleet, { seed: 1, count: 0 });
    expect(targetText(target, "sim")).toBe("sim-1/node-2/3");
  });

  it("draws what the fault leaves open, the same by the same seed, another by another count", () => {
    const draw = (seed: number, count: number) =>
      targetText(chooseTarget(parseFault("gpu-fail"), fleet, { seed, count }), "sim");
    const drawn = Array.from({ length: 20 }, (_none, count) => draw(7, count));
    expect(Array.from({ length: 20 }, (_none, count) => draw(7, count))).toEqual(drawn);
    expect(new Set(drawn).size).toBeGreaterThan(5);
  });

  it.each([
    ["link-cut sim-2", "no cluster sim-2 (it has sim-0 to sim-1)"],
    ["link-cut other-0", "no cluster other-0 (it has sim-0 to sim-1)"],
    ["node-reboot node-1", "no cluster node-1 (it has sim-0 to sim-1)"],
    ["node-reboot sim-0/node-3", "no node 3 (it has 0 to 2)"],
    ["gpu-fail sim-0/node-0/4", "no GPU 4 (it has 0 to 3)"],
  ])("refuses %j, which the fleet does not have", (text, message) => {
    expect(() => chooseTarget(parseFault(text), fleet, { seed: 1, count: 0 })).toThrow(message);
  });

  it("says that a fleet without GPUs has none", () => {
    const none = { ...fleet, size: { ...fleet.size, gpusPerNode: 0 } };
    const choose = () => chooseTarget(parseFault("gpu-fail"), none, { seed: 1, count: 0 });
    expect(choose).toThrow("it has none");
  });
});
