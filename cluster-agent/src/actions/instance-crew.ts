import { randomInt, randomUUID } from "node:crypto";
import { BerthError, type Clock } from "@berth/service-kit";
import type { ClaimGroup } from "../allocator/pending-claims.ts";
import type { GivenPlacement, Placer } from "../allocator/placer.ts";
import type { ChooseRequest, ResourceAllocator } from "../allocator/resource-allocator.ts";
import type { BlockBook } from "../blocks/block-book.ts";
import type { BlockRecord, InstanceRecord } from "../blocks/block-records.ts";
import { requestedResources } from "../blocks/entry-reading.ts";
import { type Taken, type TakeRequest, unknownLease } from "../ledger/allocation-desk.ts";
import type { AllocationHold, Claim, LedgerRefusal } from "../ledger/claim.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { atOnce } from "./at-once.ts";
import { devicesOf, fenceOf, instanceSpec } from "./instance-spec.ts";
import { lackingDevices } from "./leased-devices.ts";
import { ledgerError } from "./ledger-error.ts";
import type { RunningOperation } from "./operation.ts";

/** An instance that is to be made: its names are minted before anything happens. */
export interface PlannedInstance {
  readonly instanceId: string;
  readonly allocationId: string;
  /** The lease that becomes its allocation, and who must hold that; absent = a place is chosen for it. */
  readonly lease?: NonNullable<TakeRequest["lease"]>;
  /** JSON text of what it is started with. */
  readonly initDataJson?: string;
}

/** What {@link InstanceCrew} works with. */
export interface CrewDeps {
  readonly ledger: Ledger;
  readonly runtime: Runtime;
  readonly blocks: BlockBook;
  readonly placer: Placer;
  readonly allocator: ResourceAllocator;
  readonly clock: Clock;
}

/** Where planned instances go. */
export interface PlacingRules {
  /** What the block's policy is asked to do. */
  readonly action: ChooseRequest["action"];
  /** The instance that is moved. */
  readonly moved?: ChooseRequest["instance"];
  /** What the client says to the block's policy. */
  readonly extraData?: unknown;
  /** Chosen by the client, one per instance; absent = chosen here. */
  readonly given?: readonly GivenPlacement[];
  /** Nodes that they must not go to. */
  readonly avoidedNodes?: ReadonlySet<string>;
}

/** What places are chosen for, and how. */
interface Choosing {
  readonly planned: readonly PlannedInstance[];
  readonly rules: PlacingRules;
  /** UUIDs of devices that were just lost to somebody else. */
  readonly excluded: ReadonlySet<string>;
  readonly group: ClaimGroup;
  readonly signal: AbortSignal;
}

const ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789";
const ID_LENGTH = 8;
/** Choices that are lost to somebody else before it is given up. */
const MAX_CHOICES = 3;
/** Instances of one operation that the runtime is asked for at a time. */
const MAX_STARTS = 8;

/** Mints the names of instances. */
export function planInstances(count: number, initData: readonly string[] = []): PlannedInstance[] {
  return Array.from({ length: count }, (_, place) => {
    const characters = Array.from(
      { length: ID_LENGTH },
      () => ID_CHARACTERS[randomInt(ID_CHARACTERS.length)],
    );
    const initDataJson = initData[place];
    return {
      instanceId: `in-${characters.join("")}`,
      allocationId: randomUUID(),
      ...(initDataJson === undefined ? {} : { initDataJson }),
    };
  });
}

/** Makes and ends instances. Every function may be called again, and comes to the same end. */
export class InstanceCrew {
  readonly #deps: CrewDeps;

  constructor(deps: CrewDeps) {
    this.#deps = deps;
  }

  /**
   * Takes what all the planned instances need, all or nothing. Throws CONFLICT with the reasons of each node, and how many would fit, when
   * there is no room, CONFLICT that names a lease which is void or somebody else's, and what the ledger refuses a given
   * placement with.
   */
  async take(
    operation: RunningOperation,
    {
      block,
      planned,
      rules,
    }: {
      readonly block: BlockRecord;
      readonly planned: readonly PlannedInstance[];
      readonly rules: PlacingRules;
    },
  ): Promise<void> {
    const { ledger } = this.#deps;
    // All are taken in one transaction: one that is there means that all are.
    if (planned.every(({ allocationId }) => ledger.hold(allocationId) !== undefined)) return;
    operation.at("taking GPUs", 0, planned.length);
    const excluded = new Set<string>();
    for (let choice = 1; ; choice += 1) {
      const taken = await this.#tryTake(operation, block, { planned, rules, excluded });
      if (taken.kind === "taken") return;
      if (taken.leaseId !== undefined) throw leaseError(taken, leaseField(planned, taken.leaseId));
      if (rules.given !== undefined || choice >= MAX_CHOICES || !isLost(taken)) {
        throw ledgerError(taken);
      }
      for (const uuid of taken.deviceUuids) excluded.add(uuid);
    }
  }

  /** Writes the instances down and lets the runtime run them, some at a time. */
  async start(
    operation: RunningOperation,
    block: BlockRecord,
    planned: readonly PlannedInstance[],
  ): Promise<void> {
    let started = 0;
    const tell = () => operation.at("starting instances", started, planned.length);
    tell();
    await atOnce(planned, MAX_STARTS, async (one) => {
      const record = this.#record(operation, block, one);
      // Right before it is applied: one that is written down and not seen to run for long is told as absent.
      await this.#deps.blocks.putInstance(record);
      await this.apply(block, record, operation.signal);
      started += 1;
      tell();
    });
  }

  /** Lets the runtime run an instance as its record says. */
  async apply(block: BlockRecord, record: InstanceRecord, signal: AbortSignal): Promise<void> {
    const spec = instanceSpec(block, record, this.#allocation(record.allocationId).claim);
    const outcome = await this.#deps.runtime.applyInstance(spec, signal);
    if (outcome.kind === "refused") throw new BerthError(outcome.reason, outcome.message);
  }

  /** Ends instances, one after the other, and gives back what they held when nothing of them runs any more. */
  async end(
    operation: Pick<RunningOperation, "at" | "signal" | "blockId">,
    instances: readonly Pick<PlannedInstance, "instanceId" | "allocationId">[],
  ): Promise<void> {
    const { blocks, runtime } = this.#deps;
    const { blockId, signal } = operation;
    for (const [place, { instanceId, allocationId }] of instances.entries()) {
      operation.at("ending instances", place, instances.length);
      const record = blocks.instance(blockId, instanceId);
      if (record !== undefined) await blocks.putInstance({ ...record, state: "removing" });
      await runtime.removeInstance({ blockId, instanceId }, signal);
      await this.free(allocationId);
      await blocks.removeInstance(blockId, instanceId);
    }
  }

  /** Gives back what an instance held; nothing happens when it holds nothing. */
  async free(allocationId: string): Promise<void> {
    const freed = await this.#deps.ledger.free(allocationId);
    if (freed.kind === "refused") throw ledgerError(freed);
  }

  /**
   * What is written down of a planned instance. What is written down already stays, but for its place: the ledger's word counts,
   * which may have been lost and given anew since.
   */
  #record(
    operation: RunningOperation,
    block: BlockRecord,
    { instanceId, allocationId, initDataJson }: PlannedInstance,
  ): InstanceRecord {
    const { blocks, placer, clock } = this.#deps;
    const { claim } = this.#allocation(allocationId);
    const fence = fenceOf(operation);
    const place = {
      nodeId: claim.nodeId,
      devices: devicesOf(claim, placer.capacity(claim.nodeId)),
    };
    const known = blocks.instance(block.id, instanceId);
    if (known !== undefined) return isSamePlace(known, place) ? known : { ...known, ...place };
    return {
      ...{ blockId: block.id, instanceId, allocationId, operationId: operation.id, ...place },
      ...(initDataJson === undefined ? {} : { initDataJson }),
      ...(fence === undefined ? {} : { fence }),
      createdAt: clock.timestamp(),
      state: "wanted",
    };
  }

  /** Chooses places and asks the ledger for them; what was chosen is left alone by others until it has answered. */
  async #tryTake(
    { id: operationId, signal }: RunningOperation,
    block: BlockRecord,
    chosen: Omit<Choosing, "group" | "signal">,
  ): Promise<Taken | LedgerRefusal> {
    const { ledger, placer } = this.#deps;
    const group = placer.pending.begin();
    try {
      const claims = await this.#claims(block, { ...chosen, group, signal });
      const requests = chosen.planned.map(({ allocationId, instanceId, lease }, place) => ({
        ...{ allocationId, lease },
        claim: claims[place] as Claim,
        purpose: { blockId: block.id, instanceId, operationId },
      }));
      return await ledger.take(requests);
    } finally {
      group.end();
    }
  }

  async #claims(
    block: BlockRecord,
    { planned, rules, excluded, group, signal }: Choosing,
  ): Promise<readonly Claim[]> {
    const { placer, allocator } = this.#deps;
    const { given, action, moved: instance, extraData } = rules;
    const { avoidedNodes = new Set<string>() } = rules;
    if (given !== undefined) return given.map((one) => placer.claimOf(block, one));
    const claims: Claim[] = [];
    // What is leased is in the ledger already.
    const besides: Claim[] = [];
    for (const [place, { lease }] of planned.entries()) {
      if (lease !== undefined) {
        claims.push(this.#leased(block, lease.leaseId, `lease_ids.${place}`));
        continue;
      }
      const chosen = { besides: [...besides], excluded, avoidedNodes, group };
      const asked = { block, action, instance, extraData, ...chosen, signal };
      const placement = await allocator.choose(asked);
      if (placement.kind === "unschedulable") {
        throw noRoom(placement.reasons, { placed: claims.length, count: planned.length });
      }
      claims.push(placement.claim);
      besides.push(placement.claim);
    }
    return claims;
  }

  /** The node and the devices of a lease, and of the rest what an instance of the block needs. */
  #leased({ entry }: BlockRecord, leaseId: string, field: string): Claim {
    const hold = this.#deps.ledger.hold(leaseId);
    if (hold?.kind !== "lease") throw leaseError(unknownLease(leaseId), field);
    const lacking = lackingDevices(entry, hold.claim);
    if (lacking !== undefined) {
      const message = `${field}: lease ${leaseId} holds ${lacking}`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    const { cpuMillis, memoryMiB, storageMiB } = requestedResources(entry);
    return { ...hold.claim, cpuMillis, memoryMiB, storageMiB };
  }

  #allocation(allocationId: string): AllocationHold {
    const hold = this.#deps.ledger.hold(allocationId);
    if (hold?.kind === "allocation") return hold;
    throw new BerthError("INTERNAL", `allocation ${allocationId} is not in the ledger`);
  }
}

/** What the client calls a lease: "lease_ids.0". */
function leaseField(planned: readonly PlannedInstance[], leaseId: string): string {
  return `lease_ids.${planned.findIndex(({ lease }) => lease?.leaseId === leaseId)}`;
}

/** A lease stands in the way: it holds too little, or cannot be used at all. */
function leaseError({ reason, message }: LedgerRefusal, field: string): BerthError {
  const kind = reason === "invalid" ? "PRECONDITION_FAILED" : "CONFLICT";
  return new BerthError(kind, `${field}: ${message}`, { details: { ledger: reason } });
}

/** Whether another choice may do better. */
function isLost({ reason }: LedgerRefusal): boolean {
  return ["taken", "not_enough", "device_refuses", "node_refuses", "unknown_device"].includes(
    reason,
  );
}

function noRoom(
  reasons: readonly string[],
  { placed, count }: { readonly placed: number; readonly count: number },
): BerthError {
  const which = count === 1 ? "the instance" : `instance ${placed + 1} of ${count}`;
  const message = `no place for ${which}: ${reasons.join("; ")}`;
  const details = { unschedulable: true, reasons, fits: placed };
  return new BerthError("CONFLICT", message, { details });
}

function isSamePlace(
  one: Pick<InstanceRecord, "nodeId" | "devices">,
  other: Pick<InstanceRecord, "nodeId" | "devices">,
): boolean {
  const uuidsOf = ({ devices }: Pick<InstanceRecord, "devices">) =>
    new Set(devices.map(({ uuid }) => uuid));
  const differing = uuidsOf(one).symmetricDifference(uuidsOf(other));
  return one.nodeId === other.nodeId && differing.size === 0;
}
