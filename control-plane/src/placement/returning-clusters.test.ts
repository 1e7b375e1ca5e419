import { describe, expect, it } from "vitest";
import type { ClusterHealth } from "../fleet/cluster-view.ts";
import { viewOf } from "../testing/fleet-views.ts";
import type { TriedCluster } from "./placement-record.ts";
import { withReturning } from "./returning-clusters.ts";

const away: TriedCluster = {
  ...{ clusterId: "c1", step: "view", reason: "UNAVAILABLE", message: "unreachable" },
};
/** The views' telemetry came at 900 ms. */
const scopeOf = (health: ClusterHealth | undefined, over: object = {}) => ({
  ...{ selection: { kind: "all" as const }, known: new Set<string>(), isEarly: false },
  viewOf: () => (health === undefined ? undefined : viewOf("c1", [], health)),
  nowMs: 2_000,
  ...over,
});
const marked = (one: TriedCluster, scope: ReturnType<typeof scopeOf>) =>
  withReturning([one], scope)[0]?.mayReturn ?? false;

describe("withReturning", () => {
  it.each<[string, ClusterHealth | undefined, object, boolean]>([
    ["was heard a moment ago", "unreachable", {}, true],
    ["has been silent for a minute", "unreachable", { nowMs: 61_000 }, false],
    ["is silent, early", "unreachable", { nowMs: 61_000, isEarly: true }, true],
    ["reports, but of no blocks now", "live", {}, true],
    ["has no agent", "unknown", { isEarly: true }, false],
    ["had an agent, early", "unknown", { isEarly: true, known: new Set(["c1"]) }, true],
    ["had an agent and did not come back", undefined, { known: new Set(["c1"]) }, false],
  ])("of a cluster that %s", (_what, health, over, returns) => {
    expect(marked(away, scopeOf(health, over))).toBe(returns);
  });

  it("leaves alone what a cluster said itself, and that it is full", () => {
    expect(marked({ ...away, reason: "UNSCHEDULABLE" }, scopeOf("live"))).toBe(false);
    expect(marked({ ...away, step: "dry_run" }, scopeOf("live"))).toBe(false);
  });

  it("names those of the selection that an early start has not heard", () => {
    const known = new Set(["c1", "c2", "c3"]);
    const viewsOf = (id: string) => (id === "c3" ? viewOf("c3", []) : undefined);
    const early = { known, isEarly: true, viewOf: viewsOf };
    expect(withReturning([], scopeOf(undefined, early))).toEqual([
      expect.objectContaining({ clusterId: "c1", mayReturn: true }),
      expect.objectContaining({ clusterId: "c2", mayReturn: true }),
    ]);
    const named = { ...early, selection: { kind: "ids", ids: ["c2", "c3"] } };
    const ids = withReturning([], scopeOf(undefined, named)).map(({ clusterId }) => clusterId);
    expect(ids).toEqual(["c2"]);
    expect(withReturning([], scopeOf(undefined, { ...early, isEarly: false }))).toEqual([]);
  });
});
