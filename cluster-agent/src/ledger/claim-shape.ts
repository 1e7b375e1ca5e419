import type { Claim, DeviceClaim, Hold, LedgerRefusal } from "./claim.ts";

/** Longest id of a hold, a subject, a node or a device, characters. */
export const MAX_ID_CHARACTERS = 256;
/** What a claim counts beside its devices, and its unit for people. */
export const CLAIM_AMOUNTS = [
  { field: "cpuMillis", unit: "CPU millis" },
  { field: "memoryMiB", unit: "MiB of memory" },
  { field: "storageMiB", unit: "MiB of storage" },
] as const;
/** Most devices of one claim. */
const MAX_DEVICES = 1_024;

/** A refusal as a value. */
export function refused(
  reason: LedgerRefusal["reason"],
  message: string,
  deviceUuids: readonly string[] = [],
): LedgerRefusal {
  return { kind: "refused", reason, message, deviceUuids };
}

/** Why a text is no id; undefined when it is one. */
export function idProblem(field: string, id: unknown): string | undefined {
  if (typeof id === "string" && id !== "" && id.length <= MAX_ID_CHARACTERS) return undefined;
  return `${field}: expected 1-${MAX_ID_CHARACTERS} characters`;
}

/** Why a claim can never be met, whatever the node has; undefined when its fields are in order. */
export function claimProblem(claim: Claim): string | undefined {
  const { devices } = claim;
  if (devices.length > MAX_DEVICES) return `devices: expected at most ${MAX_DEVICES} items`;
  const seen = new Set<string>();
  for (const { uuid, memoryMiB } of devices) {
    const problem = idProblem("devices.uuid", uuid);
    if (problem !== undefined) return problem;
    if (seen.has(uuid)) return `devices: expected different devices, got ${uuid} twice`;
    seen.add(uuid);
    if (memoryMiB !== undefined && !isWhole(memoryMiB, 1)) {
      return `devices.memoryMiB: expected a whole number from 1 for ${uuid}, got ${memoryMiB}`;
    }
  }
  for (const { field } of CLAIM_AMOUNTS) {
    const amount = claim[field];
    if (!isWhole(amount, 0)) return `${field}: expected a whole number from 0, got ${amount}`;
  }
  return idProblem("nodeId", claim.nodeId);
}

/** The claim with its own fields only, as it is stored: nothing of it changes with the caller's object. */
export function normalClaim(claim: Claim): Claim {
  const { nodeId, cpuMillis, memoryMiB, storageMiB } = claim;
  const devices = claim.devices.map(({ uuid, memoryMiB: part }) =>
    part === undefined ? { uuid } : { uuid, memoryMiB: part },
  );
  return { nodeId, devices, cpuMillis, memoryMiB, storageMiB };
}

/** Whether two claims are the same, whatever the order of their devices. */
export function sameClaim(one: Claim, other: Claim): boolean {
  const isSame = (["nodeId", "cpuMillis", "memoryMiB", "storageMiB"] as const).every(
    (field) => one[field] === other[field],
  );
  return isSame && sameDevices(one.devices, other.devices);
}

/** Whether what is held for `held` is enough for `claim`: same node, same devices, no larger amounts. */
export function coversClaim(held: Claim, claim: Claim): boolean {
  const isEnough = CLAIM_AMOUNTS.every(({ field }) => claim[field] <= held[field]);
  return isEnough && held.nodeId === claim.nodeId && sameDevices(held.devices, claim.devices);
}

/** A hold as messages name it: "allocation a1 (instance in-x of block b)", "lease l1 (of s)". */
export function holdName(hold: Hold): string {
  if (hold.kind === "lease") return `lease ${hold.id} (of ${hold.subject})`;
  const { instanceId, blockId } = hold.purpose;
  return `allocation ${hold.id} (instance ${instanceId} of block ${blockId})`;
}

function sameDevices(one: readonly DeviceClaim[], other: readonly DeviceClaim[]): boolean {
  const parts = new Map(one.map(({ uuid, memoryMiB }) => [uuid, memoryMiB]));
  return (
    one.length === other.length &&
    other.every(({ uuid, memoryMiB }) => parts.has(uuid) && parts.get(uuid) === memoryMiB)
  );
}

function isWhole(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least;
}
