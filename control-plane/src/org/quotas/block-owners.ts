import { BerthError } from "@berth/service-kit";
import { profileOf } from "../profiles/quota-owners.ts";
import type { Quota } from "./quota.ts";

/**
 * Which quotas name which blocks in their profiles, with the writes that are on their way. The instances of a block are the replicas of one
 * quota: two would scale it against one another. Quotas that share one already, in an older store, may stay.
 */
export class BlockOwners {
  readonly #byBlock = new Map<string, Map<string, Quota>>();

  /** CONFLICT when the quota would come to name a block that another one names, on the same cluster or on any. */
  check(quota: Quota, before: Quota | undefined): void {
    const { blockId, clusterId } = profileOf(quota);
    if (blockId === undefined) return;
    const had = before === undefined ? undefined : profileOf(before);
    if (had?.blockId === blockId && had.clusterId === clusterId) return;
    for (const other of this.#byBlock.get(blockId)?.values() ?? []) {
      const { clusterId: otherCluster = clusterId } = profileOf(other);
      const isElsewhere = clusterId !== undefined && otherCluster !== clusterId;
      if (other.quotaId === quota.quotaId || isElsewhere) continue;
      const [block, owner] = [blockId, other.quotaId].map((id) => JSON.stringify(id.slice(0, 100)));
      const message = `allocation_info.block_id: the instances of block ${block} are the replicas of quota ${owner} already; expected a block of its own`;
      throw new BerthError("CONFLICT", message, { details: { quota_id: other.quotaId } });
    }
  }

  /** The quota that names a block, on that cluster where one is asked for; the first where an older store has several. */
  ownerOf(blockId: string, clusterId: string | undefined): Quota | undefined {
    const all = this.#byBlock.get(blockId)?.values() ?? [];
    return [...all].find((quota) => {
      const { clusterId: named = clusterId } = profileOf(quota);
      return clusterId === undefined || named === clusterId;
    });
  }

  /** The quota is so now. */
  replace(before: Quota | undefined, after: Quota | undefined): void {
    if (before !== undefined) this.#remove(before);
    const blockId = after === undefined ? undefined : profileOf(after).blockId;
    if (after === undefined || blockId === undefined) return;
    this.#byBlock.getOrInsert(blockId, new Map()).set(after.quotaId, after);
  }

  #remove(quota: Quota): void {
    const { blockId } = profileOf(quota);
    const owners = blockId === undefined ? undefined : this.#byBlock.get(blockId);
    if (blockId === undefined || owners === undefined) return;
    owners.delete(quota.quotaId);
    if (owners.size === 0) this.#byBlock.delete(blockId);
  }
}
