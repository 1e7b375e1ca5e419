import type { ResidentPart } from "@berth/policy-sandbox";
import type { GpuMetrics } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { reportedMetrics } from "../fleet/reported-metrics.ts";
import { aGpu, aView, someMetrics } from "../testing/documents.ts";
import { withLeased } from "./overlay.ts";
import { ResidentCatalog } from "./resident-catalog.ts";

describe("ResidentCatalog", () => {
  it("keeps a part's version until its text changes", () => {
    const catalog = new ResidentCatalog();
    const view = aView("c1");
    const [first] = catalog.members([view]).documents;
    const [second] = catalog.members([{ ...view, revision: 2, metricsJson: "{}" }]).documents;
    expect(second?.parts.data).toBe(first?.parts.data);
    expect(second?.parts.metrics?.version).not.toBe(first?.parts.metrics?.version);
  });

  it("never gives one version to two texts, also not when a text comes back", () => {
    const catalog = new ResidentCatalog();
    const versions = ["{}", "[]", "{}"].map((documentJson) => {
      const [document] = catalog.list([{ ...aView("c1"), documentJson }]).documents;
      return document?.parts.data?.version;
    });
    expect(new Set(versions).size).toBe(3);
  });

  it("keeps clusters of two orgs apart, and null for metrics that nobody reported", () => {
    const catalog = new ResidentCatalog();
    const ours = { ...aView("c1"), metricsJson: null };
    const theirs = { ...aView("c1"), orgId: "another", metricsJson: null };
    const [a, b] = catalog.members([ours, theirs]).documents;
    expect(a?.parts.metrics?.json).toBe("null");
    expect(a?.parts.data?.version).not.toBe(b?.parts.data?.version);
  });

  it("gives the totals beside the nested metrics, also while GPUs count as leased", () => {
    const gpu = { gpu_id: 0, id: "0", uuid: "GPU-0", state: "free", quality: "measured" } as const;
    const node = someMetrics({
      ...{ vcpu: { count: 8, utilization: 25 }, free_gpus: 1 },
      gpus: [{ ...gpu, cudaUtilization: 40 }],
    });
    const view = aView("c1", { gpus: [aGpu("0")], node });
    const leased = withLeased(view, new Map([["node-1", new Set(["0"])]]));
    for (const seen of [view, leased]) {
      const [document] = new ResidentCatalog().members([seen]).documents;
      expect(JSON.parse(document?.parts.metrics?.json ?? "")).toMatchObject({
        ...{ clusterId: "c1", nodes: [{ gpus: [{ state: seen === view ? "free" : "leased" }] }] },
        ...{ total_cpu: 8, used_cpu: 2, total_memory: 32_000, used_memory: 16_000 },
        ...{ total_gpus: 1, gpu_utilization: 40, health: "live" },
      });
    }
  });

  it("tells the leased GPUs whose ids are numbers as edits", () => {
    const view = aView("c1", { gpus: [aGpu(4 as never), aGpu(7 as never)] });
    const catalog = new ResidentCatalog();
    const dataOf = (seen: typeof view) => catalog.members([seen]).documents[0]?.parts.data;
    const base = dataOf(view)?.version ?? "";
    const part = dataOf(withLeased(view, new Map([["node-1", new Set(["7"])]])));
    expect(JSON.parse(part?.editsFrom?.(base) ?? "")).toEqual([
      [["nodes", "nodeData", 0, "gpus", "gpus", 1, "state"], "leased"],
      [["nodes", "nodeData", 0, "free_gpus"], 1],
    ]);
  });

  it("gives a ranking policy the list of cluster documents", () => {
    expect(new ResidentCatalog().list([aView("c1")]).shape).toEqual({ kind: "list", part: "data" });
  });
});

describe("edits between overlays of one text", () => {
  const metrics = (slot: number): GpuMetrics => {
    const id = String(slot);
    return { gpu_id: slot, id, uuid: `GPU-${slot}`, state: "free", quality: "measured" };
  };
  const node = someMetrics({ gpus: [metrics(0), metrics(1), metrics(2)], free_gpus: 3 });
  const view = aView("c1", { gpus: ["0", "1", "2"].map((id) => aGpu(id)), node });
  const catalog = new ResidentCatalog();
  const partsWith = (...slots: string[]) => {
    const seen =
      slots.length === 0 ? view : withLeased(view, new Map([["node-1", new Set(slots)]]));
    const [document] = catalog.members([seen]).documents;
    return document?.parts as Readonly<Record<string, ResidentPart>>;
  };

  it.each([
    [[], ["0"]],
    [["0"], ["0", "2"]],
    [["0", "1"], ["2"]],
    [["0", "2"], []],
    [["1"], ["1"]],
  ])("make %j leased into %j leased, in both parts", (before, after) => {
    for (const name of ["data", "metrics"]) {
      const [from, to] = [partsWith(...before)[name], partsWith(...after)[name]];
      const edits = to?.editsFrom?.(from?.version ?? "") ?? "";
      const value = JSON.parse(from?.json ?? "");
      for (const [path, member] of JSON.parse(edits)) {
        const last = path.pop();
        path.reduce((inner: Record<string, unknown>, step: string) => inner[step], value)[last] =
          member;
      }
      expect(value).toEqual(JSON.parse(to?.json ?? ""));
    }
  });

  it("are not known from another text", () => {
    expect(partsWith("0").data?.editsFrom?.(9_999)).toBeUndefined();
  });

  it("name a version once and again while the document stays, whatever the metrics do", () => {
    const leased = new Map([["node-1", new Set(["0"])]]);
    const [one] = catalog.members([withLeased(view, leased)]).documents;
    const newer = {
      ...view,
      metrics: reportedMetrics({ clusterId: "c1", cluster: {}, nodes: [] }, "live"),
      metricsJson: "{}",
    };
    const [other] = catalog.members([withLeased(newer, leased)]).documents;
    expect(other?.parts.data).toBe(one?.parts.data);
  });
});
