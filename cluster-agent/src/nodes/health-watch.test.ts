import { describe, expect, it } from "vitest";
import type { HealthFact } from "./health-facts.ts";
import { HealthWatch, type WatchedView } from "./health-watch.ts";

const fact = (factId: string, values: Partial<HealthFact> = {}): HealthFact => ({
  ...{ factId, gpuUuid: "GPU-1", kind: "xid", class: "hardware", code: 79 },
  ...{ evidence: "", holds: false, ageMs: 0 },
  ...values,
});

/** A live node with one GPU, unhealthy for the reason when there is one. */
function view(reason?: string, values: Partial<WatchedView> & { facts?: HealthFact[] } = {}) {
  const { facts = [], ...rest } = values;
  const about = { uuid: "GPU-1", facts };
  const verdict =
    reason === undefined ? { state: "free" as const } : { state: "unhealthy" as const, reason };
  return {
    liveness: "live" as const,
    slots: [{ uuid: "GPU-1", modelName: "H100" }],
    verdicts: [{ ...about, ...verdict }],
    nodeFacts: [],
    kernelLog: "measured" as const,
    ...rest,
  };
}

const kinds = (news: readonly { kind: string }[]) => news.map(({ kind }) => kind);

describe("HealthWatch", () => {
  it("tells once that a GPU is unhealthy, and that it has recovered once it is well for 10 s", () => {
    const watch = new HealthWatch();
    expect(watch.look(view("lost"), 0)).toEqual([
      { kind: "gpu_unhealthy", slot: 0, uuid: "GPU-1", reason: "lost", facts: [] },
    ]);
    expect(watch.look(view("lost"), 1_000)).toEqual([]);
    expect(watch.look(view("another reason"), 2_000)).toEqual([]);
    expect(watch.look(view(), 3_000)).toEqual([]);
    expect(watch.waits).toBe(true);
    expect(watch.look(view(), 12_999)).toEqual([]);
    expect(watch.look(view(), 13_000)).toEqual([
      { kind: "gpu_recovered", slot: 0, uuid: "GPU-1", reason: "lost", facts: [] },
    ]);
    expect(watch.waits).toBe(false);
    expect(watch.told).toBeUndefined();
  });

  it("tells of a GPU that flaps once", () => {
    const watch = new HealthWatch();
    const news = Array.from({ length: 100 }, (_none, second) =>
      watch.look(view(second % 2 === 0 ? "lost" : undefined), second * 1_000),
    );
    expect(kinds(news.flat())).toEqual(["gpu_unhealthy"]);
  });

  it("tells nothing of the GPUs of a node that is not live, which does not count as well", () => {
    const watch = new HealthWatch();
    watch.look(view("lost"), 0);
    watch.look(view(), 1_000);
    const silent = view("telemetry lost", { liveness: "telemetry_lost" });
    expect(watch.look(silent, 5_000)).toEqual([]);
    expect(watch.look(view(), 20_000)).toEqual([]);
    expect(kinds(watch.look(view(), 30_000))).toEqual(["gpu_recovered"]);
  });

  it("goes on after a restart where it was", () => {
    const first = new HealthWatch();
    const broken = view("XID 79", { facts: [fact("boot-1/7")] });
    expect(kinds(first.look(broken, 0))).toEqual(["gpu_unhealthy", "health_fact"]);
    const second = new HealthWatch(first.told);
    expect(second.look(broken, 0)).toEqual([]);
    second.look(view(), 0);
    expect(kinds(second.look(view(), 10_000))).toEqual(["gpu_recovered"]);
  });

  it("tells new facts of class reset and hardware, those of the node without a slot", () => {
    const watch = new HealthWatch();
    const mild = fact("mild", { class: "application" });
    const ofNode = fact("hung/", { gpuUuid: "", class: "reset", kind: "driver_hung" });
    const facts = [fact("boot-1/7"), mild];
    const news = watch.look(view("XID 79", { facts, nodeFacts: [ofNode] }), 0).slice(1);
    expect(news).toEqual([
      { kind: "health_fact", slot: 0, fact: facts[0], omitted: 0 },
      { kind: "health_fact", fact: ofNode, omitted: 0 },
    ]);
    expect(watch.told?.facts).toEqual(["boot-1/7", "hung/"]);
  });

  it("tells a fact again when it has ceased and comes back, not when the node has not told its health yet", () => {
    const watch = new HealthWatch();
    const facts = [fact("row_remap_pending/GPU-1", { holds: true, class: "reset" })];
    const pending = view("row remap pending", { facts });
    watch.look(pending, 0);
    const { kernelLog: _unknown, ...unheard } = view("row remap pending");
    expect(watch.look(unheard, 1_000)).toEqual([]);
    expect(watch.look(pending, 2_000)).toEqual([]);
    watch.look(view(), 3_000);
    expect(kinds(watch.look(pending, 4_000))).toEqual(["health_fact"]);
  });

  it("tells 32 facts of a node in ten minutes at most, and how many it left out", () => {
    const watch = new HealthWatch();
    const storm = (from: number, count: number) =>
      Array.from({ length: count }, (_none, at) => fact(`boot-1/${from + at}`));
    const first = watch.look(view("XID 79", { facts: storm(0, 40) }), 0);
    expect(first.filter(({ kind }) => kind === "health_fact")).toHaveLength(32);
    expect(watch.told?.facts).toHaveLength(40);
    expect(watch.look(view("XID 79", { facts: storm(40, 10) }), 1_000)).toEqual([]);
    const later = watch.look(view("XID 79", { facts: storm(50, 2) }), 600_000);
    expect(later.map((news) => news.kind === "health_fact" && news.omitted)).toEqual([18, 0]);
  });
});
