import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { aGpu, aView, someMetrics } from "../testing/documents.ts";
import { checkPlacement } from "./placement.ts";

const cluster = aView("c1", {
  gpus: [aGpu("0"), aGpu("1"), aGpu("2", { state: "unhealthy" }), aGpu("3", { state: "cordoned" })],
});
const context = {
  candidates: new Map([
    ["c1", cluster],
    ["gone", aView("gone", { health: "unreachable" })],
    ["sick", aView("sick", { node: someMetrics({ status: "unhealthy" }) })],
    ["bare", aView("bare", { health: "unknown" })],
  ]),
  requestCount: undefined,
};

describe("checkPlacement", () => {
  it.each([
    ["a cluster alone", { cluster_id: "c1" }, { cluster_id: "c1" }],
    ["a node", { cluster_id: "c1", node_id: "node-1" }, { cluster_id: "c1", node_id: "node-1" }],
    [
      "GPU slots as strings",
      { cluster_id: "c1", node_id: "node-1", gpus: ["0", "1"] },
      { cluster_id: "c1", node_id: "node-1", gpus: ["0", "1"] },
    ],
    [
      "GPU slots as numbers and as UUIDs, turned into slots",
      { cluster_id: "c1", node_id: "node-1", gpus: [1, "GPU-0"] },
      { cluster_id: "c1", node_id: "node-1", gpus: ["1", "0"] },
    ],
    ["extra keys", { cluster_id: "c1", score: 0.5 }, { cluster_id: "c1", score: 0.5 }],
    [
      "null in optional fields",
      { cluster_id: "c1", node_id: null, gpus: null },
      { cluster_id: "c1", node_id: null, gpus: null },
    ],
    [
      "a node of a cluster without an agent",
      { cluster_id: "bare", node_id: "node-1" },
      { cluster_id: "bare", node_id: "node-1" },
    ],
  ])("accepts %s", (_name, result, data) => {
    const gpus = ("gpus" in data && Array.isArray(data.gpus) ? data.gpus : []).map((slot) => ({
      clusterId: "c1",
      nodeId: "node-1",
      slot,
    }));
    expect(checkPlacement(result, context)).toEqual({ kind: "placed", data, gpus, taken: [] });
  });

  it.each([
    ["a number", 3, "result: expected an object, a list or null, got number"],
    ["a text", "c1", "result: expected an object, a list or null, got string"],
    [
      "another shape",
      { cluster: "c1" },
      "result.cluster_id: it is missing; use null when nothing fits",
    ],
    [
      "a cluster id of another type",
      { cluster_id: 1 },
      "result.cluster_id: expected a string, got number",
    ],
    [
      "an unknown cluster",
      { cluster_id: "x" },
      "result.cluster_id: x is not one of the candidate clusters",
    ],
    ["an unreachable cluster", { cluster_id: "gone" }, "result.cluster_id: gone is unreachable"],
    [
      "an unknown node",
      { cluster_id: "c1", node_id: "n" },
      "result.node_id: cluster c1 has no node n",
    ],
    [
      "an unhealthy node",
      { cluster_id: "sick", node_id: "node-1" },
      "result.node_id: node node-1 of cluster sick is not healthy",
    ],
    [
      "GPUs without a node",
      { cluster_id: "c1", gpus: ["0"] },
      "result.node_id: gpus need the node that they are on",
    ],
    [
      "GPUs of another type",
      { cluster_id: "c1", node_id: "node-1", gpus: "0" },
      "result.gpus: expected an array, got string",
    ],
    [
      "an unknown GPU",
      { cluster_id: "c1", node_id: "node-1", gpus: ["9"] },
      "result.gpus[0]: node c1/node-1 has no GPU 9",
    ],
    [
      "an unhealthy GPU",
      { cluster_id: "c1", node_id: "node-1", gpus: ["2"] },
      "result.gpus[0]: GPU 2 of node c1/node-1 is unhealthy",
    ],
    [
      "a cordoned GPU",
      { cluster_id: "c1", node_id: "node-1", gpus: ["3"] },
      "result.gpus[0]: GPU 3 of node c1/node-1 is cordoned",
    ],
    [
      "a GPU under two names",
      { cluster_id: "c1", node_id: "node-1", gpus: ["0", "GPU-0"] },
      "result.gpus[1]: GPU GPU-0 of node c1/node-1 is given twice",
    ],
    [
      "a GPU that is an object",
      { cluster_id: "c1", node_id: "node-1", gpus: [{}] },
      "result.gpus[0]: expected a GPU id, got object",
    ],
  ])("refuses %s and names it", (_name, result, message) => {
    expect(checkPlacement(result, context)).toEqual({ kind: "invalid", message });
  });

  it.each([
    ["null", null, ["the policy chose none of 4 candidate clusters"]],
    ["an empty object", {}, ["the policy chose none of 4 candidate clusters"]],
    ["a null cluster", { cluster_id: null }, ["the policy chose none of 4 candidate clusters"]],
    ["[] for one request", [], ["the policy chose none of 4 candidate clusters"]],
    [
      "reasons of any shape",
      { reasons: [{ a: 1 }, ["b"], 2, null, "c"] },
      ['{"a":1}', '["b"]', "2", "null", "c"],
    ],
    ["one reason of any shape", { cluster_id: null, reason: { a: 1 } }, ['{"a":1}']],
    ["its own reasons", { cluster_id: null, reasons: ["c1: full"] }, ["c1: full"]],
    ["one reason", { reason: "full" }, ["full"]],
  ])("reads %s as unschedulable with reasons", (_name, result, reasons) => {
    const check = checkPlacement(result, context);
    expect(check.kind).toBe("unschedulable");
    expect(check).toMatchObject({ data: { cluster_id: null, unschedulable: true, reasons } });
  });

  it("says so when there was no candidate at all", () => {
    const none = { candidates: new Map(), requestCount: undefined };
    expect(checkPlacement(null, none)).toMatchObject({
      data: { reasons: ["there is no candidate cluster"] },
    });
  });

  it.each([true, "yes", 1, {}])("refuses unschedulable %j beside a cluster", (unschedulable) => {
    const both = { cluster_id: "c1", unschedulable };
    const why = "unschedulable: a cluster is chosen; use cluster_id null when nothing fits";
    expect(checkPlacement(both, context)).toEqual({
      kind: "invalid",
      message: `result.${why}`,
    });
    expect(checkPlacement([null, both], context)).toEqual({
      kind: "invalid",
      message: `result[1].${why}`,
    });
  });

  it("repeats no more than the beginning of a long name", () => {
    const long = "x".repeat(100_000);
    const node = { cluster_id: "c1", node_id: long };
    for (const result of [
      { cluster_id: long },
      node,
      { ...node, node_id: "node-1", gpus: [long] },
    ]) {
      const check = checkPlacement(result, context);
      const message = check.kind === "invalid" ? check.message : "";
      expect(message).toContain(`${"x".repeat(253)}…`);
      expect(message.length).toBeLessThan(400);
    }
  });

  it("tells which of the GPUs others have, in lists too", () => {
    const gpus = [aGpu("0", { state: "leased" }), aGpu("1"), aGpu("2", { state: "allocated" })];
    const candidates = new Map([["c1", aView("c1", { gpus })]]);
    const placed = (...slots: string[]) => ({ cluster_id: "c1", node_id: "node-1", gpus: slots });
    const gpu = (slot: string, state: string) => ({
      ...{ clusterId: "c1", nodeId: "node-1" },
      ...{ slot, state },
    });
    const check = (result: unknown) =>
      checkPlacement(result, { candidates, requestCount: undefined });
    expect(check(placed("0", "1"))).toMatchObject({ taken: [gpu("0", "leased")] });
    expect(check([placed("GPU-2"), placed("1"), placed("0")])).toMatchObject({
      taken: [gpu("2", "allocated"), gpu("0", "leased")],
    });
  });

  it("keeps numbers of extra keys as the policy wrote them", () => {
    const result = parseLossless('{"cluster_id":"c1","score":10.0,"big":9007199254740993}');
    const check = checkPlacement(result, context);
    expect(JSON.stringify("data" in check && check.data)).toBe(
      '{"cluster_id":"c1","score":10.0,"big":9007199254740993}',
    );
  });

  it.each([
    ["numbers", [{ id: 0 }, { id: 7 }]],
    ["texts", [{ id: "0" }, { id: "7" }]],
  ])("places on GPUs whose ids are %s, whatever the policy writes", (_name, gpus) => {
    const bare = aView("bare", { health: "unknown", gpus: gpus as never });
    const candidates = new Map([["bare", bare]]);
    for (const asked of [["7"], [7], parseLossless("[7.0]")]) {
      const result = { cluster_id: "bare", node_id: "node-1", gpus: asked };
      expect(checkPlacement(result, { candidates, requestCount: undefined })).toEqual({
        kind: "placed",
        data: { ...result, gpus: ["7"] },
        gpus: [{ clusterId: "bare", nodeId: "node-1", slot: "7" }],
        taken: [],
      });
    }
  });

  it("takes a text that is both a slot and another GPU's UUID for the slot", () => {
    const gpus = [aGpu("0"), aGpu("1", { uuid: "0", state: "leased" })];
    const candidates = new Map([["c1", aView("c1", { gpus })]]);
    const result = { cluster_id: "c1", node_id: "node-1", gpus: ["0"] };
    expect(checkPlacement(result, { candidates, requestCount: undefined })).toMatchObject({
      gpus: [{ slot: "0" }],
      taken: [],
    });
  });
});
