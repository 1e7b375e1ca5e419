import { describe, expect, it } from "vitest";
import { aGpu, aView } from "../testing/documents.ts";
import { checkPlacement } from "./placement.ts";

const context = {
  candidates: new Map(
    ["c1", "c2", "c3", "c4"].map((id) => [id, aView(id, { gpus: [aGpu("0"), aGpu("1")] })]),
  ),
  requestCount: undefined,
};

describe("checkPlacement, of several placements", () => {
  it("checks each placement of a list and keeps the ones that do not fit in their place", () => {
    const one = { cluster_id: "c1", node_id: "node-1", gpus: ["0"] };
    const check = checkPlacement([one, null], { ...context, requestCount: 2 });
    expect(check).toMatchObject({ kind: "placed", data: [one, { unschedulable: true }] });
  });

  it("counts a placement as one whatever the policy calls it", () => {
    const one = { cluster_id: "c1", node_id: "node-1", gpus: ["0"], unschedulable: false };
    const gpus = [{ clusterId: "c1", nodeId: "node-1", slot: "0" }];
    const check = checkPlacement([one, null], context);
    expect(check).toMatchObject({ kind: "placed", gpus, data: [one, { unschedulable: true }] });
    expect(checkPlacement([null, {}], context).kind).toBe("unschedulable");
  });

  it("takes at most 10,000 placements, and answers null to more requests once", () => {
    const nothing = Array.from({ length: 10_001 }, () => null);
    expect(checkPlacement(nothing, context)).toEqual({
      kind: "invalid",
      message: "result: expected at most 10000 placements, got 10001",
    });
    const check = (result: unknown, requestCount: number) =>
      checkPlacement(result, { ...context, requestCount });
    expect(check(nothing.slice(1), 10_000).kind).toBe("unschedulable");
    expect(check(nothing, 10_001)).toEqual({
      kind: "invalid",
      message: "result: expected at most 10000 placements, got 10001",
    });
    expect(check(null, 10_000)).toMatchObject({ data: { length: 10_000 } });
    expect(check(null, 10_001)).toMatchObject({ data: { cluster_id: null, unschedulable: true } });
  });

  it("holds one text for all placements of a list that do not fit", () => {
    const check = checkPlacement([null, {}, { cluster_id: "c1" }, { cluster_id: null }], context);
    const data = "data" in check && Array.isArray(check.data) ? check.data : [];
    expect(data[1]).toBe(data[0]);
    expect(data[3].reasons).toBe(data[0].reasons);
  });

  it("looks once at the nodes of a cluster and at the GPUs of a node, however many placements name them", () => {
    const looks = { nodes: 0, gpus: 0 };
    const view = aView("c1", { gpus: Array.from({ length: 50 }, (_, n) => aGpu(String(n))) });
    const [node] = view.document.nodes.nodeData;
    const watched = {
      ...node,
      get id() {
        looks.nodes += 1;
        return "node-1";
      },
      get gpus() {
        looks.gpus += 1;
        return node?.gpus;
      },
    };
    const document = { ...view.document, nodes: { count: 1, nodeData: [watched] } };
    const candidates = new Map([["c1", { ...view, document } as typeof view]]);
    const check = (result: unknown) => checkPlacement(result, { candidates, requestCount: 50 });
    const placed = (gpus: readonly string[]) => ({ cluster_id: "c1", node_id: "node-1", gpus });
    const list = Array.from({ length: 50 }, (_, n) => placed([String(n)]));
    expect(check(list.map(() => placed([])))).toMatchObject({ kind: "placed", gpus: [] });
    expect(looks.gpus).toBe(0);
    looks.nodes = 0;
    expect(check(list)).toMatchObject({ kind: "placed", data: list });
    expect(looks.gpus).toBe(1);
    expect(looks.nodes).toBeLessThanOrEqual(2);
  });

  it("refuses one placement for several requests", () => {
    const one = { cluster_id: "c1" };
    expect(checkPlacement(one, { ...context, requestCount: 1 })).toMatchObject({ data: one });
    expect(checkPlacement(one, { ...context, requestCount: 2 })).toEqual({
      kind: "invalid",
      message: "result: expected a list of 2 placements, one per request, got one placement",
    });
  });

  it("refuses one placement for a list of no requests, which takes none", () => {
    const check = (result: unknown) => checkPlacement(result, { ...context, requestCount: 0 });
    expect(check({ cluster_id: "c1" })).toEqual({
      kind: "invalid",
      message: "result: expected a list of 0 placements, one per request, got one placement",
    });
    for (const nothing of [null, {}, { cluster_id: null, reasons: ["full"] }, []]) {
      expect(check(nothing)).toEqual({ kind: "unschedulable", data: [] });
    }
  });

  it.each([null, {}])("answers several requests with %j for each of them", (nothing) => {
    const one = {
      ...{ cluster_id: null, unschedulable: true },
      reasons: ["the policy chose none of 4 candidate clusters"],
    };
    const check = checkPlacement(nothing, { ...context, requestCount: 3 });
    expect(check).toEqual({ kind: "unschedulable", data: [one, one, one] });
  });

  it("tells what a policy says of several requests at once with the first of them", () => {
    const said = { cluster_id: null, reasons: ["full"], score: 1 };
    const check = checkPlacement(said, { ...context, requestCount: 3 });
    const other = { cluster_id: null, unschedulable: true, reasons: ["as for the first request"] };
    expect(check).toEqual({
      kind: "unschedulable",
      data: [{ ...said, unschedulable: true }, other, other],
    });
  });

  it("refuses a GPU that two placements of a list share", () => {
    const one = { cluster_id: "c1", node_id: "node-1", gpus: ["0"] };
    expect(checkPlacement([one, one], context)).toEqual({
      kind: "invalid",
      message: "result[1].gpus: c1/node-1/0 is given twice",
    });
  });

  it("refuses a list of another length than the requests", () => {
    const check = checkPlacement([{ cluster_id: "c1" }], { ...context, requestCount: 2 });
    expect(check).toEqual({
      kind: "invalid",
      message: "result: expected 2 placements, one per request, got 1",
    });
  });
});
