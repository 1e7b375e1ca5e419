import { isDeepStrictEqual } from "node:util";
import { BerthError, parse } from "@berth/service-kit";
import { type Static, Type } from "typebox";
import { claimedDevices } from "../allocator/device-ids.ts";
import type { Placer } from "../allocator/placer.ts";
import { type BlockEntry, parseBlockField } from "../blocks/block-entry.ts";
import { type BlockRecord, blockRecord } from "../blocks/block-records.ts";
import { type RequestedResources, requestedResources } from "../blocks/entry-reading.ts";
import type { Claim, DeviceClaim, NodeCapacity } from "../ledger/claim.ts";

const MAX_ID_CHARACTERS = 253;
const MAX_GPUS = 256;
const id = Type.String({ minLength: 1, maxLength: MAX_ID_CHARACTERS });
const amount = Type.Optional(Type.Integer({ minimum: 0, maximum: 2 ** 40 }));
const slotOrUuid = Type.Union([id, Type.Integer({ minimum: 0 })]);

const LeaseBody = Type.Object(
  {
    lease_id: Type.Optional(id),
    subject: id,
    ttl_ms: Type.Integer(),
    node_id: id,
    gpus: Type.Optional(
      Type.Array(
        Type.Union([
          slotOrUuid,
          Type.Object(
            {
              id: Type.Optional(slotOrUuid),
              uuid: Type.Optional(id),
              memory: Type.Optional(Type.Integer({ minimum: 1, maximum: 2 ** 31 })),
            },
            { additionalProperties: false },
          ),
        ]),
        { maxItems: MAX_GPUS },
      ),
    ),
    block_data: Type.Optional(Type.Unknown()),
    cpu_millis: amount,
    memory: amount,
    storage: amount,
  },
  { additionalProperties: false },
);

type GivenGpu = NonNullable<Static<typeof LeaseBody>["gpus"]>[number];

/** What `POST /leases` asks for. */
export interface AskedLease {
  readonly leaseId: string | undefined;
  readonly subject: string;
  readonly ttlMs: number;
  readonly claim: Claim;
}

/** What {@link leaseRequest} looks at. */
export interface LeaseScene {
  readonly placer: Placer;
  /** What a lease that counts holds; undefined when none has the id. */
  readonly held: (leaseId: string | undefined) => Claim | undefined;
}

/**
 * Reads the body of `POST /leases`: `subject`, `ttl_ms`, `node_id`, `gpus` (slots, UUIDs, or `{id | uuid, memory}` for a
 * share), and what is taken beside them: what an instance of the block in `block_data` needs, or `cpu_millis`, `memory`
 * and `storage`. Without `gpus` a block's are chosen on the node; asked for again they are those that
 * the lease holds. INVALID_ARGUMENT and NOT_FOUND name the field, CONFLICT says why there is no place for the block on the
 * node.
 */
export function leaseRequest(body: unknown, { placer, held }: LeaseScene): AskedLease {
  const asked = parse(LeaseBody, body);
  const { lease_id: leaseId, subject, ttl_ms: ttlMs, node_id: nodeId } = asked;
  const capacity = placer.capacity(nodeId);
  if (capacity === undefined) {
    throw new BerthError("NOT_FOUND", `node_id: no node ${JSON.stringify(nodeId)}`);
  }
  const { gpus, block_data: data, cpu_millis: cpuMillis, memory, storage } = asked;
  const common = { leaseId, subject, ttlMs };
  if (data === undefined) {
    const devices = devicesOf(gpus ?? [], capacity, undefined);
    const amounts = {
      cpuMillis: cpuMillis ?? 0,
      memoryMiB: memory ?? 0,
      storageMiB: storage ?? 0,
    };
    return { ...common, claim: { nodeId, devices, ...amounts } };
  }
  for (const [field, value] of Object.entries({ cpu_millis: cpuMillis, memory, storage })) {
    if (value !== undefined) throw invalid(`${field}: expected nothing beside block_data`);
  }
  const entry = parseBlockField("block_data", data);
  const need = requestedResources(entry);
  if (gpus === undefined) {
    const known = held(leaseId);
    return { ...common, claim: chosenClaim(entry, capacity, { placer, known }) };
  }
  const devices = devicesOf(gpus, capacity, need.gpuMemoryMiB);
  const { cpuMillis: cpu, memoryMiB, storageMiB } = need;
  return { ...common, claim: { nodeId, devices, cpuMillis: cpu, memoryMiB, storageMiB } };
}

function devicesOf(
  gpus: readonly GivenGpu[],
  capacity: NodeCapacity,
  blockMiB: number | undefined,
): readonly DeviceClaim[] {
  const shares = gpus.map((gpu) => (typeof gpu === "object" ? gpu : { id: gpu }));
  const ids = shares.map(({ id: slot, uuid }, place) => {
    const named = uuid ?? slot;
    if (named !== undefined && (uuid === undefined || slot === undefined)) return named;
    throw invalid(`gpus.${place}: expected id or uuid`);
  });
  const claimed = claimedDevices(ids, { capacity, memoryMiB: undefined, field: "gpus" });
  const whole = new Set(capacity.gpus.map(({ uuid }) => uuid));
  return claimed.map(({ uuid }, place) => {
    const memoryMiB = shares[place]?.memory ?? blockMiB;
    if (memoryMiB === undefined) return { uuid };
    if (whole.has(uuid)) return { uuid, memoryMiB };
    if (shares[place]?.memory === undefined) return { uuid };
    throw invalid(`gpus.${place}.memory: expected none, as a part of MIG is taken whole`);
  });
}

/** Whether a claim is one that may have been chosen for such an instance on the node. */
function isChoiceFor(claim: Claim, need: RequestedResources, capacity: NodeCapacity): boolean {
  const { nodeId, gpus } = capacity;
  const { cpuMillis, memoryMiB, storageMiB } = need;
  const { devices, ...amounts } = claim;
  const parts = new Map(
    gpus.flatMap(({ migDevices }) =>
      migDevices.map((part) => [part.uuid, part.memoryMiB] as const),
    ),
  );
  const wantedMiB = need.gpuMemoryMiB;
  const isFit = ({ uuid, memoryMiB: shareMiB }: DeviceClaim) => {
    const partMiB = parts.get(uuid);
    if (partMiB === undefined) return shareMiB === wantedMiB;
    return wantedMiB !== undefined && partMiB >= wantedMiB;
  };
  return (
    isDeepStrictEqual(amounts, { nodeId, cpuMillis, memoryMiB, storageMiB }) &&
    devices.length === need.gpus &&
    devices.every(isFit)
  );
}

function chosenClaim(
  entry: BlockEntry,
  capacity: NodeCapacity,
  { placer, known }: { readonly placer: Placer; readonly known: Claim | undefined },
): Claim {
  if (known !== undefined && isChoiceFor(known, requestedResources(entry), capacity)) return known;
  const placement = placer.placeOn(capacity.nodeId, blockOf(entry));
  if (placement.kind === "placed") return placement.claim;
  const { reasons } = placement;
  const details = { unschedulable: true, reasons };
  throw new BerthError("CONFLICT", `no place for the block: ${reasons.join("; ")}`, { details });
}

function blockOf(entry: BlockEntry): BlockRecord {
  const about = { phase: "creating", operationId: "", createdAt: "", updatedAt: "" } as const;
  return blockRecord(entry, about);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
