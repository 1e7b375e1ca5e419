import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { type DeclaredCluster, defaultDeclaredCluster } from "./declared-cluster.ts";
import { checkPolicyMap, isHookRepair } from "./hook-repair.ts";

const cluster = defaultDeclaredCluster({ clusterId: "c1", regionId: "eu", tags: ["a"] });
const having = (actionsPolicyMap: unknown, more: Partial<DeclaredCluster> = {}) => ({
  ...cluster,
  ...more,
  config: { ...cluster.config, actionsPolicyMap },
});

describe("isHookRepair", () => {
  it.each([
    ["takes the entry away", having({ update_cluster: "p" }), having({})],
    [
      "replaces it",
      having({ update_cluster: "p", add_block: "q" }),
      having({ add_block: "q", update_cluster: "r" }),
    ],
    ["takes a map away that is none", having("p"), having({})],
  ])("is an update that %s", (_what, before, after) => {
    expect(isHookRepair(before, after)).toBe(true);
  });

  it.each([
    ["another hook too", having({ update_cluster: "p", add_block: "q" }), having({})],
    ["anything else too", having({ update_cluster: "p" }), having({}, { tags: ["b"] })],
    ["another hook in place of a map that is none", having("p"), having({ add_block: "q" })],
  ])("is none that changes %s", (_what, before, after) => {
    expect(isHookRepair(before, after)).toBe(false);
  });

  it("compares numbers as numbers", () => {
    const before = { ...cluster, reputation: parseLossless("97.0") as number };
    expect(isHookRepair(before, { ...cluster, reputation: 97 })).toBe(true);
  });
});

describe("checkPolicyMap", () => {
  it("refuses what would refuse every action of a hook, and names it", () => {
    expect(() => checkPolicyMap(cluster, having({ add_node: 7 }))).toThrow(
      "config.actionsPolicyMap.add_node: expected a policy URI or an object, got number",
    );
    expect(() => checkPolicyMap(cluster, having("p"))).toThrow("expected an object, got string");
  });

  it("takes unknown keys, and what was unreadable before", () => {
    checkPolicyMap(cluster, having({ onScaleUp: 7 }));
    checkPolicyMap(having({ add_node: 7 }), having({ add_node: 7, add_block: "p" }));
  });
});
