import { isDeepStrictEqual } from "node:util";
import { BerthError, isJsonObject, plainOf } from "@berth/service-kit";
import { HOOKS } from "../prechecks/hooks.ts";
import { mapEntry } from "../prechecks/policy-map.ts";
import type { DeclaredCluster } from "./declared-cluster.ts";

/**
 * Whether an update changes nothing but which policy governs updates of the cluster. Such an update is what a broken
 * policy of that hook is repaired by, so its failure must not stand in the way. Pure.
 */
export function isHookRepair(before: DeclaredCluster, after: DeclaredCluster): boolean {
  return isDeepStrictEqual(withoutHook(before), withoutHook(after));
}

/**
 * Refuses an update that makes the policy map unreadable, with INVALID_ARGUMENT that names the entry: it would refuse
 * every action of its hook. One that was unreadable before stands in nobody's way.
 */
export function checkPolicyMap(before: DeclaredCluster, after: DeclaredCluster): void {
  for (const hook of HOOKS) {
    const entry = mapEntry(plainOf(after.config.actionsPolicyMap), hook);
    if (entry.kind !== "unreadable") continue;
    const was = mapEntry(plainOf(before.config.actionsPolicyMap), hook);
    if (was.kind === "unreadable" && was.why === entry.why) continue;
    throw new BerthError("INVALID_ARGUMENT", entry.why);
  }
}

function withoutHook(declared: DeclaredCluster): unknown {
  const { config, ...rest } = plainOf(declared) as DeclaredCluster;
  const { actionsPolicyMap: map, ...others } = config;
  const { update_cluster: _hook, ...hooks } = isJsonObject(map) ? map : {};
  return { ...rest, config: others, hooks };
}
