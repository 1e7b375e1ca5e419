import type { KeptQuota, Quota } from "../quotas/quota.ts";
import { type AllocationProfile, PLAIN_PROFILE, readProfile } from "./allocation-profile.ts";

/** Who has which quota, and whose the blocks are. */
export interface QuotaOwners {
  /** Quotas by subject; groups, which are nobody's, are left out. */
  readonly bySubject: ReadonlyMap<string, readonly KeptQuota[]>;
  /** The quota whose replicas are the instances of a block; undefined when there is none. */
  quotaOfBlock(clusterId: string, blockId: string): KeptQuota | undefined;
}

const profiles = new WeakMap<Quota, AllocationProfile>();

/** The profile of a quota; that of a plain label where what the store has does not hold. */
export function profileOf(quota: Quota): AllocationProfile {
  const known = profiles.get(quota);
  if (known !== undefined) return known;
  const profile = readable(quota.allocationInfo);
  profiles.set(quota, profile);
  return profile;
}

function readable(allocationInfo: string): AllocationProfile {
  try {
    return readProfile(allocationInfo);
  } catch {
    return PLAIN_PROFILE;
  }
}

const known = new WeakMap<readonly KeptQuota[], QuotaOwners>();

/** {@link QuotaOwners} of all quotas of an org; the same list is looked through once. */
export function ownersOf(all: readonly KeptQuota[]): QuotaOwners {
  const before = known.get(all);
  if (before !== undefined) return before;
  const bySubject = new Map<string, KeptQuota[]>();
  const byBlock = new Map<string, KeptQuota[]>();
  for (const kept of all) {
    const { subjectId } = kept.quota;
    if (subjectId !== "") bySubject.getOrInsert(subjectId, []).push(kept);
    const { blockId } = profileOf(kept.quota);
    if (blockId !== undefined) byBlock.getOrInsert(blockId, []).push(kept);
  }
  const owners: QuotaOwners = {
    bySubject,
    quotaOfBlock: (clusterId, blockId) =>
      byBlock.get(blockId)?.find(({ quota }) => {
        const { clusterId: named = clusterId } = profileOf(quota);
        return named === clusterId;
      }),
  };
  known.set(all, owners);
  return owners;
}
