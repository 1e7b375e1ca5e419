import { type Clock, type LogFields, type Logger, Pacer, silentLogger } from "@berth/service-kit";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { ClusterView } from "../fleet/cluster-view.ts";
import { aGpu, aView } from "../testing/documents.ts";
import { gpuMetrics, metricsView, nodeMetrics } from "../testing/metrics-views.ts";
import { HISTORY_INTERVAL_MS, History, type HistoryLimits } from "./history.ts";
import { CLUSTER_SERIES, NODE_SERIES } from "./history-readings.ts";

const ORG = "default_org";
const EPOCH_MS = Date.parse("2026-01-01T00:00:00.000Z");

/** A history whose time is moved by hand, over a fleet of these views. */
function aHistory(views: readonly ClusterView[], limits?: HistoryLimits) {
  const fleet = new Map(views.map((view) => [view.id, view]));
  const time = { ms: 0 };
  const warnings: { message: string; fields: LogFields | undefined }[] = [];
  const logger: Logger = {
    ...silentLogger,
    warn: (message, fields) => void warnings.push({ message, fields }),
  };
  const clock: Clock = {
    nowMs: () => time.ms,
    timestamp: () => new Date(EPOCH_MS + time.ms).toISOString(),
  };
  const history = new History({
    ...{ orgId: ORG, pace: new Pacer(), clock, logger },
    clusters: { snapshot: async () => ({ revision: 1, clusters: fleet }) },
    ...(limits === undefined ? {} : { limits }),
  });
  const after = async (ms: number) => {
    time.ms += ms;
    await history.record();
  };
  return { history, fleet, time, warnings, after };
}

const seriesOf = (history: History, clusterId: string, points = 4, nodeId?: string) => {
  const answer = history.read({ orgId: ORG, clusterId, nodeId }, points);
  if (answer.kind !== "found") throw new Error(`no series: ${answer.kind}`);
  return answer.series;
};

const gpus = [
  gpuMetrics(0, { cudaUtilization: 80, usedMem: 1_000, powerUtilization: 300.5 }),
  gpuMetrics(1, { cudaUtilization: 20, usedMem: 24, powerUtilization: 100 }),
];
const busy = (id: string, utilization: number) =>
  nodeMetrics(id, [16, utilization, 48_000, 16_000], { gpus, free_gpus: 1 });

/** Cluster "c" with two live nodes, one dead one, and three GPUs in its document. */
function fleetView(utilization: number): ClusterView {
  const dead = { ...busy("dead", 99), status: "unhealthy" as const };
  const nodes = [busy("a", utilization), busy("b", 50), dead];
  const listed = [aGpu("0"), aGpu("1", { state: "allocated" }), aGpu("2", { state: "unhealthy" })];
  return { ...metricsView("c", nodes), document: aView("c", { gpus: listed }).document };
}

afterEach(() => void vi.useRealTimers());

describe("History", () => {
  it("keeps what a cluster and its nodes were, summed over live nodes", async () => {
    const { history, fleet, after } = aHistory([fleetView(25)]);
    await after(HISTORY_INTERVAL_MS);
    fleet.set("c", fleetView(75));
    await after(HISTORY_INTERVAL_MS);
    expect(seriesOf(history, "c", 3)).toEqual({
      total_cpu: [null, 32, 32],
      used_cpu: [null, 4 + 8, 12 + 8],
      total_memory: [null, 128_000, 128_000],
      used_memory: [null, 32_000, 32_000],
      gpus: [null, 3, 3],
      free_gpus: [null, 1, 1],
      unhealthy_gpus: [null, 1, 1],
      gpu_utilization: [null, 50, 50],
      gpu_memory_used: [null, 2_048, 2_048],
      power: [null, 801, 801],
    });
    expect(seriesOf(history, "c", 2, "a")).toEqual({
      cpu_utilization: [25, 75],
      memory_used: [16_000, 16_000],
      gpu_utilization: [50, 50],
      gpu_memory_used: [1_024, 1_024],
      power: [400.5, 400.5],
      free_gpus: [1, 1],
    });
    expect(history.series).toBe(CLUSTER_SERIES.length + 3 * NODE_SERIES.length);
  });

  it("does not know what a dead node or an unreachable cluster does", async () => {
    const { history, fleet, after } = aHistory([fleetView(25)]);
    await after(HISTORY_INTERVAL_MS);
    expect(Object.values(seriesOf(history, "c", 1, "dead")).flat()).toEqual(
      NODE_SERIES.map(() => null),
    );
    fleet.set("c", { ...fleetView(25), health: "unreachable" });
    await after(HISTORY_INTERVAL_MS);
    for (const series of [seriesOf(history, "c", 2), seriesOf(history, "c", 2, "a")]) {
      for (const [before, now] of Object.values(series)) {
        expect(before).not.toBeNull();
        expect(now).toBeNull();
      }
    }
  });

  it("knows of a cluster without an agent what its document says", async () => {
    const registered = { ...aView("r", { health: "unknown" }), metrics: null, metricsJson: null };
    const document = { ...registered.document, gpus: { count: 2, memory: 0 } };
    const { history, after } = aHistory([{ ...registered, document }]);
    await after(HISTORY_INTERVAL_MS);
    expect(seriesOf(history, "r", 1)).toMatchObject({
      ...{ total_cpu: [8], used_cpu: [null], gpus: [2], free_gpus: [null], power: [null] },
    });
  });

  it("leaves time without a reading unknown, and dates the last point", async () => {
    const { history, after } = aHistory([fleetView(25)]);
    await after(HISTORY_INTERVAL_MS);
    await after(3 * HISTORY_INTERVAL_MS + 5_000);
    const answer = history.read({ orgId: ORG, clusterId: "c" }, 5);
    expect(answer).toMatchObject({ end: "2026-01-01T00:01:00.000Z" });
    expect(seriesOf(history, "c", 5).gpus).toEqual([null, 3, null, null, 3]);
  });

  it("forgets who has been gone for an hour", async () => {
    const { history, fleet, after } = aHistory([fleetView(25)]);
    await after(HISTORY_INTERVAL_MS);
    fleet.clear();
    await after(239 * HISTORY_INTERVAL_MS);
    expect(seriesOf(history, "c", 240).gpus).toEqual([3, ...Array(239).fill(null)]);
    await after(HISTORY_INTERVAL_MS);
    expect(history.read({ orgId: ORG, clusterId: "c" }, 1)).toMatchObject({ kind: "none" });
    expect(history.series).toBe(0);
  });

  it("tells nothing to another org", async () => {
    const { history, after } = aHistory([fleetView(25)]);
    await after(HISTORY_INTERVAL_MS);
    const answer = history.read({ orgId: "other", clusterId: "c" }, 1);
    expect(answer).toMatchObject({ kind: "none", series: { gpus: [null] } });
  });

  it("keeps at most so many series, says so once, and gives the room of the gone to the new", async () => {
    const limits = { clusterSeries: 25, nodeSeries: 11 };
    const some = ["c1", "c2", "c3"].map((id) => metricsView(id, [busy("n", 1)]));
    const { history, fleet, warnings, after } = aHistory(some, limits);
    await after(HISTORY_INTERVAL_MS);
    await after(HISTORY_INTERVAL_MS);
    expect(history.series).toBe(2 * CLUSTER_SERIES.length + NODE_SERIES.length);
    expect(history.read({ orgId: ORG, clusterId: "c3" }, 1)).toEqual({ kind: "full", limit: 25 });
    expect(warnings).toMatchObject([{ fields: { cluster_series: 25, node_series: 11 } }]);
    fleet.delete("c1");
    await after(HISTORY_INTERVAL_MS);
    await after(HISTORY_INTERVAL_MS);
    expect(seriesOf(history, "c3", 1).total_cpu).toEqual([16]);
    expect(seriesOf(history, "c2", 4).total_cpu).toEqual([16, 16, 16, 16]);
    expect(warnings).toHaveLength(1);
  });

  it("takes a reading every 15 s until it is stopped, also after one that failed", async () => {
    vi.useFakeTimers();
    let asked = 0;
    const errors: string[] = [];
    const history = new History({
      ...{ orgId: ORG, pace: new Pacer() },
      clock: { nowMs: () => Date.now(), timestamp: () => new Date().toISOString() },
      logger: { ...silentLogger, error: (message) => void errors.push(message) },
      clusters: {
        snapshot: async () => {
          asked += 1;
          if (asked === 1) throw new Error("the store is closed");
          return { revision: asked, clusters: new Map([["c", fleetView(25)]]) };
        },
      },
    });
    await history.start();
    await vi.advanceTimersByTimeAsync(3 * HISTORY_INTERVAL_MS);
    expect(errors).toEqual(["no reading for the history was taken"]);
    expect(seriesOf(history, "c", 3).gpus).toEqual([null, 3, 3]);
    await history.stop();
    await vi.advanceTimersByTimeAsync(3 * HISTORY_INTERVAL_MS);
    expect(asked).toBe(3);
  });
});
