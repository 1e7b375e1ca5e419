import type { BlockDocument } from "@berth/proto";
import { isJsonObject, toNumber } from "@berth/service-kit";
import type { ChargedBlock } from "../org/charges/block-charges.ts";
import { blockNeed } from "./block-need.ts";

/** Instances that can be added at a time; agents take fewer. */
const MAX_ADDED = 100_000;

type Fields = Readonly<Record<string, unknown>>;

type Coming = Omit<ChargedBlock, "operationId" | "clusterId">;

/**
 * Instances that an action of an agent makes beside those that there are (`create_block`, `scale`), by its fields as the agent reads
 * them; undefined when it makes none, or when it is the agent's to refuse.
 */
export function comingInstances(
  { data, ...flat }: Fields,
  blocks: ReadonlyMap<string, BlockDocument> | undefined,
): Coming | undefined {
  const fields: Fields = { ...flat, ...(isJsonObject(data) ? data : {}) };
  const { lease_ids: ids } = fields;
  const leaseIds = Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
  const coming = fields.action === "create_block" ? created(fields) : added(fields);
  if (coming === undefined) return undefined;
  // A block is made where there is none of its id, and added to where there is.
  const isThere = blocks?.has(coming.blockId) === true;
  return isThere === (coming.added !== undefined) ? { ...coming, leaseIds } : undefined;
}

function created({ block_data: entry }: Fields): Coming | undefined {
  if (!isJsonObject(entry) || typeof entry.id !== "string") return undefined;
  const { planned: instances } = blockNeed(entry);
  return isCount(instances) ? { blockId: entry.id, instances } : undefined;
}

function added(fields: Fields): Coming | undefined {
  const { action, operation, block_id: blockId } = fields;
  const isGrowing = action === "scale" && (operation === "scale" || operation === "upscale");
  if (!isGrowing || typeof blockId !== "string") return undefined;
  const { allocation_data: given, instances_count: count } = fields;
  const more = toNumber(count ?? (Array.isArray(given) ? given.length : undefined)) ?? 0;
  return isCount(more) ? { blockId, added: more } : undefined;
}

function isCount(count: number): boolean {
  return Number.isInteger(count) && count > 0 && count <= MAX_ADDED;
}
