import { describe, expect, it } from "vitest";
import { aGpu, aView, someMetrics } from "../testing/documents.ts";
import { withLeased } from "./overlay.ts";

const gpuMetrics = (slot: number) =>
  ({
    gpu_id: slot,
    id: String(slot),
    uuid: `GPU-${slot}`,
    state: "free",
    quality: "measured",
  }) as const;
const node = someMetrics({ gpus: [gpuMetrics(0), gpuMetrics(1)], free_gpus: 2 });
const view = aView("c1", { gpus: [aGpu("0"), aGpu("1"), aGpu("2", { state: "unhealthy" })], node });
const leased = (...slots: string[]) => new Map([["node-1", new Set(slots)]]);

describe("withLeased", () => {
  it("makes free GPUs leased in the document and in the metrics, as values and as texts", () => {
    const seen = withLeased(view, leased("1"));
    for (const document of [seen.document, JSON.parse(seen.documentJson)]) {
      const [entry] = document.nodes.nodeData;
      expect(entry.gpus.gpus.map((gpu: { state: string }) => gpu.state)).toEqual([
        "free",
        "leased",
        "unhealthy",
      ]);
      expect(entry.free_gpus).toBe(1);
    }
    for (const metrics of [seen.metrics, JSON.parse(seen.metricsJson ?? "")]) {
      expect(metrics.nodes[0].gpus[1].state).toBe("leased");
      expect(metrics.nodes[0].free_gpus).toBe(1);
      expect(metrics.cluster.gpu).toEqual({ count: 2, free_gpus: 1 });
    }
    expect(seen.nodes.get("node-1")?.free_gpus).toBe(1);
  });

  it("changes nothing else, and never the view that it was given", () => {
    const before = JSON.stringify(view);
    const seen = withLeased(view, leased("0"));
    expect(JSON.stringify(view)).toBe(before);
    const freed = seen.documentJson
      .replace('"leased"', '"free"')
      .replace('"free_gpus":1', '"free_gpus":2');
    expect(freed).toBe(view.documentJson);
  });

  it("leaves every number as its owner wrote it, in both texts", () => {
    const written = (text: string) =>
      text
        .replace('"vcpus":{"count":8}', '"vcpus":{"count":8.0}')
        .replace('"reputation":100', '"reputation":9007199254740993')
        .replace('"load1m":0.5', '"load1m":5e-1')
        .replace('"freeMem":16000', '"freeMem":16000.0')
        .replaceAll('"memory":15360', '"memory":15360.00, "note":"\\u007b"');
    const documentJson = written(view.documentJson);
    const metricsJson = written(view.metricsJson ?? "");
    expect(documentJson).not.toBe(view.documentJson);
    expect(metricsJson).not.toBe(view.metricsJson);
    const lossless = { ...view, documentJson, metricsJson };
    const seen = withLeased(lossless, leased("0"));
    const freed = (text: string) =>
      text.replace('"leased"', '"free"').replaceAll('"free_gpus":1', '"free_gpus":2');
    expect(seen.documentJson).toContain('"leased"');
    expect(freed(seen.documentJson)).toBe(documentJson);
    expect(seen.metricsJson).toContain('"leased"');
    expect(freed(seen.metricsJson ?? "")).toBe(metricsJson);
  });

  it("takes nothing from the cluster's free GPUs for a node that does not count there", () => {
    const dead = aView("c1", { node: { ...node, status: "unhealthy" } });
    expect(withLeased(dead, leased("1")).metrics?.cluster.gpu?.free_gpus).toBe(2);
  });

  it.each([
    ["no such node", new Map([["node-9", new Set(["0"])]])],
    ["no such GPU", leased("7")],
    ["a GPU that is not free", leased("2")],
  ])("gives the same view back for %s", (_name, slots) => {
    expect(withLeased(view, slots)).toBe(view);
  });

  const registeredView = (gpus: readonly object[]) => {
    const nodes = { count: 1, nodeData: [{ id: "node-1", gpus: { gpus } }] };
    const document = { id: "c1", nodes };
    return {
      ...aView("c1"),
      document: document as never,
      documentJson: JSON.stringify(document),
      metrics: null,
      metricsJson: null,
    };
  };

  it("numbers GPUs without ids by their position, as documents by REST have them", () => {
    const registered = registeredView([{}, {}]);
    const seen = JSON.parse(withLeased(registered, leased("1")).documentJson);
    expect(seen.nodes.nodeData[0]).toEqual({
      id: "node-1",
      gpus: { gpus: [{}, { state: "leased" }] },
      free_gpus: 1,
    });
  });

  it("knows GPUs by ids that are numbers, and leaves the numbers", () => {
    const registered = registeredView([{ id: 4 }, { id: 7 }]);
    const seen = JSON.parse(withLeased(registered, leased("7")).documentJson);
    expect(seen.nodes.nodeData[0]).toEqual({
      id: "node-1",
      gpus: { gpus: [{ id: 4 }, { id: 7, state: "leased" }] },
      free_gpus: 1,
    });
  });
});
