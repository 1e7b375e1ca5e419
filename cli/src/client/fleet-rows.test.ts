import { describe, expect, it } from "vitest";
import { clusterRow, gpuRow, nodeRow } from "../testing/fleet-view-server.ts";
import { isStaleRow, numberIn, rowId, rowsOf, watchPath } from "./fleet-rows.ts";

describe("rows", () => {
  it("are named as a watch names them", () => {
    expect(rowId("clusters", clusterRow())).toBe("c1");
    expect(rowId("nodes", nodeRow())).toBe("c1/n1");
    expect(rowId("gpus", gpuRow())).toBe("c1/n1/0");
  });

  it("are objects only", () => {
    expect(rowsOf([{ id: "c" }, 1, null, [], "x"])).toEqual([{ id: "c" }]);
    expect(rowsOf({ id: "c" })).toEqual([]);
  });

  it("give their numbers", () => {
    const row = { a: 10, b: null, c: "1" };
    expect(["a", "b", "c", "d"].map((key) => numberIn(row, key))).toEqual([
      10,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("are stale when nobody reports them", () => {
    expect(isStaleRow(nodeRow())).toBe(false);
    expect(isStaleRow(gpuRow({ quality: "stale" }))).toBe(true);
    expect(isStaleRow(clusterRow({ status: "unreachable" }))).toBe(true);
  });
});

describe("watchPath", () => {
  it("carries the interval and the filters that the resource has", () => {
    const filter = { cluster: "a b", node: "n", state: "free" };
    expect(watchPath("gpus", {}, 1_000)).toBe("/watch/gpus?interval_ms=1000");
    expect(watchPath("clusters", filter, 500)).toBe("/watch/clusters?cluster=a+b&interval_ms=500");
    expect(watchPath("gpus", filter, 500)).toBe(
      "/watch/gpus?cluster=a+b&node=n&state=free&interval_ms=500",
    );
  });
});
