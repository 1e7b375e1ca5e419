import type { OperationDocument } from "@berth/proto";
import type { Clock } from "@berth/service-kit";
import type { ClusterBlocks, FleetBlocks } from "../../fleet/agent-api.ts";
import { profileOf } from "../profiles/quota-owners.ts";
import type { KeptQuota, Quota } from "../quotas/quota.ts";
import { blockCharge, type Charge } from "./charge.ts";
import type { ChargeBook } from "./charge-book.ts";

/** What is asked of blocks and of what becomes of them. */
export interface BlocksToldDeps {
  readonly blocks: FleetBlocks;
  /** Clusters that had the block and were not heard since the start. */
  readonly unheard: (blockId: string) => readonly string[];
  /** Whether the block is on its way to a cluster. */
  readonly isUnderway: (blockId: string) => boolean;
  readonly clock: Pick<Clock, "timestamp">;
}

/** What was charged a moment ago may not be there yet, ms. */
const UNDER_WAY_MS = 30_000;
/** In place of the operation of a row that follows what clusters tell. */
export const SEEN = "seen";

/** What clusters tell of a quota's block, and the operation that is under way for it. */
export interface ToldInstances extends Partial<Pick<Charge, "operationId" | "createdAt">> {
  readonly instances: number;
  readonly adding: number;
}
const NOTHING: ToldInstances = { instances: 0, adding: 0 };

/** What clusters tell of a quota's block, as far as it is charged; undefined while that is not known, or about to change. */
export function toldInstances(
  deps: BlocksToldDeps,
  charges: Pick<ChargeBook, "planned">,
  { quota }: Pick<KeptQuota, "quota">,
): ToldInstances | undefined {
  const { blockId } = profileOf(quota);
  if (blockId === undefined || !isCharged(quota)) return NOTHING;
  if (deps.isUnderway(blockId) || deps.unheard(blockId).length > 0) return undefined;
  const homes = homesOf(deps, quota);
  if (homes.some(({ isLive, isBehind }) => !isLive || isBehind)) return undefined;
  const count = instancesOf(deps, quota);
  const row = charges.planned(blockCharge(quota.quotaId));
  const { instances = 0, adding = 0, operationId = SEEN, createdAt = "" } = row ?? {};
  const isOver = operationId === SEEN || !isYoung(deps, { createdAt });
  if (isOver && !isBusy(deps, blockId)) return { instances: count, adding: 0 };
  // More than what is on its way explains: somebody has added to it elsewhere.
  if (count <= instances + adding) return undefined;
  return { instances: count - adding, adding, operationId, createdAt };
}

/** Whether a block is on its way to a cluster, or a cluster is at work on it: what it has will change. */
export function isBusy(
  { blocks, isUnderway }: Pick<BlocksToldDeps, "blocks" | "isUnderway">,
  blockId: string,
): boolean {
  return isUnderway(blockId) || blocks.all().some((told) => busyBlocks(told).has(blockId));
}

/** By what a cluster told, which is another object once it tells anything else. */
const busy = new WeakMap<ClusterBlocks["operations"], ReadonlySet<string>>();

function busyBlocks({ operations }: ClusterBlocks): ReadonlySet<string> {
  const known = busy.get(operations);
  if (known !== undefined) return known;
  const found = new Set(
    [...operations.values()].flatMap((one) => (isAtWork(one) ? [one.block_id] : [])),
  );
  busy.set(operations, found);
  return found;
}

/** Instances of a quota's block that its clusters told of last. */
export function instancesOf(deps: Pick<BlocksToldDeps, "blocks">, quota: Quota): number {
  const { blockId = "" } = profileOf(quota);
  const counts = homesOf(deps, quota).map(
    ({ blocks }) => blocks.get(blockId)?.instances.length ?? 0,
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

function isAtWork({ state }: OperationDocument): boolean {
  return state === "running" || state === "undoing";
}

function homesOf({ blocks }: Pick<BlocksToldDeps, "blocks">, quota: Quota) {
  const { blockId = "", clusterId } = profileOf(quota);
  const homes = blocks.withBlock(blockId);
  return homes.filter((told) => (clusterId ?? told.clusterId) === told.clusterId);
}

/** Whether something began so short a time ago that it may not have come to its end. */
export function isYoung(
  { clock }: Pick<BlocksToldDeps, "clock">,
  { createdAt }: { readonly createdAt: string },
): boolean {
  return Date.parse(clock.timestamp()) - Date.parse(createdAt) < UNDER_WAY_MS;
}

/** Whether GPUs are charged for replicas. */
export function isCharged(quota: Quota): boolean {
  return Object.keys(profileOf(quota).gpusPerReplica).length > 0;
}
