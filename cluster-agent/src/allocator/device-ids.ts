import { BerthError, toNumber, typeName } from "@berth/service-kit";
import type { DeviceClaim, NodeCapacity } from "../ledger/claim.ts";

/** GPUs that one placement names at most. */
const MAX_DEVICES = 256;

/**
 * The devices that a placement names, as a claim: each a slot (4 or "4") or a UUID of a GPU or of a part of MIG.
 * `memoryMiB`: the share of each GPU that is asked for; undefined = whole. INVALID_ARGUMENT names the field, and
 * what the node has.
 */
export function claimedDevices(
  ids: unknown,
  {
    capacity,
    memoryMiB,
    field,
  }: {
    readonly capacity: NodeCapacity;
    readonly memoryMiB: number | undefined;
    readonly field: string;
  },
): readonly DeviceClaim[] {
  if (ids === undefined || ids === null) return [];
  if (!Array.isArray(ids) || ids.length > MAX_DEVICES) {
    const got = Array.isArray(ids) ? `${ids.length} of them` : typeName(ids);
    throw invalid(`${field}: expected a list of at most ${MAX_DEVICES} GPUs, got ${got}`);
  }
  const claims = ids.map((id: unknown, place) => {
    return claimedDevice(id, { capacity, memoryMiB, field: `${field}.${place}` });
  });
  const twice = claims.find(({ uuid }, place) =>
    claims.some((other, at) => at < place && other.uuid === uuid),
  );
  if (twice !== undefined) throw invalid(`${field}: names ${twice.uuid} twice`);
  return claims;
}

function claimedDevice(
  id: unknown,
  {
    capacity,
    memoryMiB,
    field,
  }: {
    readonly capacity: NodeCapacity;
    readonly memoryMiB: number | undefined;
    readonly field: string;
  },
): DeviceClaim {
  const slot = slotOf(id);
  if (slot === undefined && typeof id !== "string") {
    throw invalid(`${field}: expected a slot or a UUID, got ${typeName(id)}`);
  }
  const gpu = capacity.gpus.find((one) =>
    slot === undefined ? one.uuid === id : one.slot === slot,
  );
  if (gpu !== undefined) {
    return memoryMiB === undefined ? { uuid: gpu.uuid } : { uuid: gpu.uuid, memoryMiB };
  }
  const parts = capacity.gpus.flatMap(({ migDevices }) => migDevices);
  const part = parts.find(({ uuid }) => uuid === id);
  if (part !== undefined) return { uuid: part.uuid };
  const last = capacity.gpus.length - 1;
  const has = last < 0 ? "no GPU" : `GPUs 0 to ${last}`;
  const shown = JSON.stringify(typeof id === "string" ? id.slice(0, 100) : slot);
  throw invalid(`${field}: node ${capacity.nodeId} has ${has}, not ${shown}`);
}

function slotOf(id: unknown): number | undefined {
  if (typeof id === "string") return /^(0|[1-9]\d{0,3})$/.test(id) ? Number(id) : undefined;
  return toNumber(id);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
