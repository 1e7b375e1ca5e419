import type { Quota } from "../quotas/quota.ts";
import { MAX_REPLICAS } from "../quotas/replica-count.ts";
import { profileOf } from "./quota-owners.ts";

/** Fewest and most replicas that a quota may have, by itself and by its allocation profile. */
export function replicaBounds(quota: Quota): { readonly min: number; readonly max: number } {
  const profile = profileOf(quota);
  return {
    min: Math.max(quota.minReplicas ?? 0, profile.minReplicas ?? 0),
    max: Math.min(quota.maxReplicas ?? MAX_REPLICAS, profile.maxReplicas ?? MAX_REPLICAS),
  };
}
