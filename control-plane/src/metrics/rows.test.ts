import type { GpuEntry, GpuMetrics } from "@berth/proto";
import { describe, expect, it } from "vitest";
import { aGpu, aView } from "../testing/documents.ts";
import { fleetOf, runThrough, someGpus, testNode, viewOf } from "../testing/fleet-views.ts";
import type { RowFilter, RowKind } from "./rows.ts";
import { rowPage } from "./rows-page.ts";

type View = ReturnType<typeof viewOf>;

/** All rows of a fleet at 3,000 ms. */
function rowsOf(kind: RowKind, views: readonly View[], filter: RowFilter = {}) {
  const query = { kind, filter, limit: 10_000, nowMs: 3_000 };
  const { rows, next } = runThrough(rowPage(fleetOf(...views), query));
  expect(next).toBeUndefined();
  return rows.map((row) => JSON.parse(row));
}

const gpus = [
  aGpu("0"),
  aGpu("1", { state: "allocated" }),
  aGpu("2", { state: "unhealthy", health: "reset", reason: "XID 79" }),
];

describe("the row of a GPU", () => {
  it("joins what the document and the telemetry tell", () => {
    const node = testNode("n1", [aGpu("0", { state: "allocated" })], {
      ...{ powerLimit: 70, smClock: 1_590, throttleReasons: ["sw_power_cap"] },
      processes: [
        { pid: 1, name: "a", instance_id: "i1" },
        { pid: 2, name: "b", instance_id: "i1" },
        { pid: 3, name: "c" },
      ],
    });
    expect(rowsOf("gpus", [viewOf("c1", [node])])).toEqual([
      {
        ...{ cluster_id: "c1", node_id: "n1", id: "0", uuid: "GPU-0", model: "NVIDIA T4" },
        ...{ state: "allocated", health: null, reason: null, utilization: 50 },
        ...{ memory_total: 15_360, memory_used: 1_000, temperature: 40, power: 60 },
        ...{ power_limit: 70, sm_clock: 1_590, throttle_reasons: ["sw_power_cap"] },
        ...{ processes: 3, instances: ["i1"], mig_devices: null },
        ...{ quality: "measured", simulated: false },
        // It came at 1,000 ms, and was 200 ms old then.
        age_ms: 2_200,
      },
    ]);
  });

  it("tells the use of the parts that MIG has cut", () => {
    const part = { uuid: "MIG-1", index: 0, profile: "3g.20gb", memory: 20_096 };
    const node = testNode("n1", [aGpu("0", { migEnabled: true, migDevices: [part] })], {
      migDevices: [{ uuid: "MIG-1", usedMem: 12 }],
    });
    const [row] = rowsOf("gpus", [viewOf("c1", [node])]);
    const use = { uuid: "MIG-1", profile: "3g.20gb", memory_total: 20_096, memory_used: 12 };
    expect(row.mig_devices).toEqual([use]);
  });

  it("is null where nothing tells, and not zero", () => {
    const node = { ...testNode("n1", [aGpu("0", { memory: 0 })]), metrics: undefined };
    const [row] = rowsOf("gpus", [viewOf("c1", [node])]);
    expect(row).toMatchObject({
      ...{ state: "free", quality: "unavailable", utilization: null, memory_total: null },
      ...{ processes: null, instances: null, throttle_reasons: null, age_ms: null },
    });
  });

  it("stays as it was when the cluster is unreachable: unhealthy, stale, growing older", () => {
    const view = viewOf("c1", [testNode("n1", [aGpu("0")])], "unreachable");
    expect(rowsOf("gpus", [view])).toMatchObject([
      {
        ...{ state: "unhealthy", quality: "stale", utilization: 50, age_ms: 2_200 },
        reason: "the cluster is unreachable: its agent is silent",
      },
    ]);
  });

  it("gives no reason of the telemetry to a state of the document, which is newer", () => {
    const told = { state: "unhealthy", health: "reset", reason: "XID 79" } as const;
    const healed = testNode("n1", [aGpu("0", { state: "free" })], told);
    expect(rowsOf("gpus", [viewOf("c1", [healed])])).toMatchObject([
      { state: "free", health: null, reason: null },
    ]);
    const { state: _state, ...stateless } = aGpu("0");
    const alone = testNode("n1", [stateless as GpuEntry], told);
    expect(rowsOf("gpus", [viewOf("c1", [alone])])).toMatchObject([told]);
  });

  it("finds its telemetry by the UUID when that has another order", () => {
    const node = testNode("n1", someGpus(3));
    const told =
      node.metrics?.gpus.toReversed().map((gpu, i) => ({ ...gpu, temperature: i })) ?? [];
    const metrics = node.metrics && { ...node.metrics, gpus: told };
    const rows = rowsOf("gpus", [viewOf("c1", [{ ...node, metrics }])]);
    expect(rows.map((row) => row.temperature)).toEqual([2, 1, 0]);
  });

  it.each([
    ["a text for a number", { cudaUtilization: "50" }, { utilization: null }],
    ["no number at all", { usedMem: Number.NaN }, { memory_used: null }],
    ["a number for a list", { throttleReasons: 7 }, { throttle_reasons: [] }],
    ["nothing in a list", { processes: [null] }, { processes: 1, instances: [] }],
    ["a long text", { quality: "q".repeat(1_000) }, { quality: "q".repeat(256) }],
  ])("bears %s", (_what, wrong, expected) => {
    const node = testNode("n1", [aGpu("0")], wrong as unknown as Partial<GpuMetrics>);
    expect(rowsOf("gpus", [viewOf("c1", [node])])).toMatchObject([expected]);
  });

  it("is one of at most 256 of a node", () => {
    expect(rowsOf("gpus", [viewOf("c1", [testNode("n1", someGpus(300))])])).toHaveLength(256);
  });
});

describe("the row of a node", () => {
  it("sums up its GPUs", () => {
    const [row] = rowsOf("nodes", [viewOf("c1", [testNode("n1", gpus)])]);
    expect(row).toEqual({
      ...{ cluster_id: "c1", id: "n1", status: "healthy", reason: null, simulated: false },
      ...{ quality: "measured", cpu_count: 8, cpu_utilization: null, load_1m: 0.5 },
      ...{ memory_total: 32_000, memory_used: 16_000, gpus: 3, free_gpus: 1, unhealthy_gpus: 1 },
      ...{ gpu_utilization: 50, gpu_memory_total: 46_080, gpu_memory_used: 3_000 },
      ...{ models: ["NVIDIA T4"], power: 180, max_temperature: 40, age_ms: 2_100 },
    });
  });

  it("has no sums of what no GPU tells", () => {
    expect(rowsOf("nodes", [viewOf("c1", [testNode("n1")])])).toMatchObject([
      {
        gpus: 0,
        gpu_utilization: null,
        gpu_memory_total: null,
        power: null,
        max_temperature: null,
      },
    ]);
  });

  it("says why it is unhealthy, and that it is simulated", () => {
    const node = testNode("n1", gpus);
    const metrics = node.metrics && {
      ...node.metrics,
      ...{ status: "unhealthy" as const, reason: "telemetry lost: silent for 21 s" },
      simulated: true as const,
    };
    expect(rowsOf("nodes", [viewOf("c1", [{ ...node, metrics }])])).toMatchObject([
      { status: "unhealthy", reason: "telemetry lost: silent for 21 s", simulated: true },
    ]);
  });

  it("is unreachable with its cluster, and unknown before it has told anything", () => {
    const view = viewOf("c1", [testNode("n1", gpus)], "unreachable");
    const silent = { ...testNode("n2", gpus), metrics: undefined };
    expect(rowsOf("nodes", [view, viewOf("c2", [silent])])).toMatchObject([
      { cluster_id: "c1", status: "unreachable", free_gpus: 0, unhealthy_gpus: 3 },
      { cluster_id: "c2", status: "unknown", free_gpus: 1, quality: "unavailable", age_ms: null },
    ]);
  });
});

describe("the row of a cluster", () => {
  it("sums up its nodes", () => {
    const view = viewOf("c1", [testNode("n1", gpus), testNode("n2", [aGpu("0")])]);
    expect(rowsOf("clusters", [view])).toMatchObject([
      {
        ...{ id: "c1", status: "live", region_id: "local", nodes: 2, healthy_nodes: 2 },
        ...{ gpus: 4, free_gpus: 2, unhealthy_gpus: 1, gpu_utilization: 50 },
        ...{ gpu_memory_total: 61_440, gpu_memory_used: 4_000, power: 240, age_ms: 2_100 },
        ...{ used_memory: 32_000, total_memory: 64_000, simulated: false },
      },
    ]);
  });

  it("has no healthy node and no free GPU when it is unreachable", () => {
    const view = viewOf("c1", [testNode("n1", gpus)], "unreachable");
    expect(rowsOf("clusters", [view])).toMatchObject([
      { status: "unreachable", nodes: 1, healthy_nodes: 0, free_gpus: 0, unhealthy_gpus: 3 },
    ]);
  });

  it("tells of one without an agent what its document says", () => {
    const { metrics: _none, ...bare } = aView("c1", { health: "unknown" });
    const document = JSON.parse('{"id":"c1","gpus":{"count":7},"nodes":{"count":3,"nodeData":[]}}');
    const view = { ...bare, document, metrics: null, reportedAtMs: null };
    expect(rowsOf("clusters", [view])).toMatchObject([
      {
        ...{ id: "c1", status: "unknown", region_id: null, nodes: 3, gpus: 7, free_gpus: 0 },
        ...{ gpu_utilization: null, used_cpu: null, power: null, age_ms: null },
      },
    ]);
  });
});

describe("rowPage", () => {
  const views = ["b", "a", "c"].map((id) =>
    viewOf(id, [testNode("n2", someGpus(3)), testNode("n1", someGpus(2)), testNode("n3")]),
  );
  const idOf = (row: Record<string, string>) =>
    [row.cluster_id, row.node_id, row.id].filter((part) => part !== undefined).join("/");

  it.each(["clusters", "nodes", "gpus"] as const)(
    "gives each of the %s once over pages of any size, in order",
    (kind) => {
      const all = rowsOf(kind, views).map(idOf);
      expect(all).toEqual(all.toSorted());
      expect(all).toHaveLength({ clusters: 3, nodes: 9, gpus: 15 }[kind]);
      for (const limit of [1, 2, 3, 4, 14, 15]) {
        const seen: string[] = [];
        let after: string | undefined;
        do {
          const query = { kind, filter: {}, limit, after, nowMs: 0 };
          const page = runThrough(rowPage(fleetOf(...views), query));
          seen.push(...page.rows.map((row) => idOf(JSON.parse(row))));
          after = page.next;
        } while (after !== undefined);
        expect(seen).toEqual(all);
      }
    },
  );

  it("goes on where it was when what stood there has gone", () => {
    const query = { kind: "gpus" as const, filter: {}, limit: 4, nowMs: 0 };
    const { next } = runThrough(rowPage(fleetOf(...views), query));
    const rest = [viewOf("a", [testNode("n3", someGpus(1))]), ...views.slice(2)];
    const { rows } = runThrough(rowPage(fleetOf(...rest), { ...query, after: next }));
    expect(rows.map((row) => idOf(JSON.parse(row)))).toEqual([
      "a/n3/0",
      "c/n1/0",
      "c/n1/1",
      "c/n2/0",
    ]);
  });

  it("gives the rows that fit a filter", () => {
    expect(rowsOf("nodes", views, { cluster: "b" })).toHaveLength(3);
    expect(rowsOf("gpus", views, { cluster: "b", node: "n2" })).toHaveLength(3);
    expect(rowsOf("gpus", views, { state: "unhealthy" })).toEqual([]);
    expect(rowsOf("gpus", views, { cluster: "other" })).toEqual([]);
    expect(rowsOf("clusters", views, { cluster: "c" })).toHaveLength(1);
  });

  it.each(["", "x", "e30", "WzFd", "WyJhIiwxXQ", "a".repeat(5_000)])(
    "refuses the cursor %j",
    (after) => {
      const query = { kind: "gpus" as const, filter: {}, limit: 4, after, nowMs: 0 };
      expect(() => runThrough(rowPage(fleetOf(), query))).toThrow("after: expected");
    },
  );
});
