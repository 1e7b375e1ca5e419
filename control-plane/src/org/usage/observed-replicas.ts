import type { ClusterBlocks, FleetBlocks } from "../../fleet/agent-api.ts";
import { profileOf } from "../profiles/quota-owners.ts";
import type { ObservedReplicas, Quota } from "../quotas/quota.ts";
import type { ReportedUsage } from "./usage-book.ts";

/** What {@link observedReplicas} looks at. */
export interface ObservedScene {
  readonly blocks: Pick<FleetBlocks, "withBlock" | "all">;
  /** Whether every cluster of the fleet was heard since this program's start: a block that none has is gone then. */
  readonly isWhole: boolean;
  /** When a cluster's newest telemetry was measured, on the monotonic clock, ms; undefined when it never told. */
  readonly reportedAtMs: (clusterId: string) => number | undefined;
  /** What was reported of a quota's subject, where it has this quota alone. */
  readonly reported: ReportedUsage | undefined;
  readonly nowMs: number;
}

/**
 * Replicas of a quota that are seen: the ready instances of its block, none where no cluster has it, or what its subject reported. Undefined when
 * nobody tells.
 */
export function observedReplicas(
  quota: Quota,
  { blocks, isWhole, reportedAtMs, reported, nowMs }: ObservedScene,
): ObservedReplicas | undefined {
  const { blockId, clusterId } = profileOf(quota);
  const ageSeconds = (atMs: number) => Math.max(0, Math.round((nowMs - atMs) / 1_000));
  if (blockId === undefined) {
    if (reported?.replicas === undefined) return undefined;
    return { replicas: reported.replicas, ageSeconds: ageSeconds(reported.atMs) };
  }
  const isIts = (one: ClusterBlocks) => clusterId === undefined || one.clusterId === clusterId;
  const clusters = blocks.withBlock(blockId).filter(isIts);
  const isGone = clusters.length === 0 && isWhole;
  const lookedAt = isGone ? blocks.all().filter((one) => one.isLive && isIts(one)) : clusters;
  const times = lookedAt.flatMap((one) => reportedAtMs(one.clusterId) ?? []);
  if (times.length === 0) return undefined;
  const instances = clusters.flatMap((one) => one.blocks.get(blockId)?.instances ?? []);
  const replicas = instances.filter(({ ready }) => ready).length;
  return { replicas, ageSeconds: ageSeconds(Math.min(...times)) };
}
