import type { AllocationHold, Claim, DeviceClaim, Hold } from "./claim.ts";
import { type Collision, collisions } from "./collisions.ts";
import { type CapacityOf, noCapacity } from "./draft.ts";
import { type MigParents, migParents, nodeUse } from "./node-use.ts";

/** What was found running. */
export interface ObservedHold {
  /** What it was started with; "" when it does not say. */
  readonly allocationId: string;
  readonly blockId: string;
  readonly instanceId: string;
  readonly nodeId: string;
  /** A device that does not say how much of it is used counts as used whole. */
  readonly devices: readonly DeviceClaim[];
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
  readonly operationId: string;
}

/** Something that is held more than once, or that could not be written down. */
export interface ReconcileConflict {
  readonly nodeId: string;
  /** Empty when it is not about a device. */
  readonly deviceUuids: readonly string[];
  readonly holdIds: readonly string[];
  /** For people. */
  readonly message: string;
}

/** What was made of an observation. */
export interface ReconcileReport {
  /** What ran and was not held. */
  readonly adopted: readonly AllocationHold[];
  /** Holds that follow what runs: another node, other devices, another instance. */
  readonly changed: readonly AllocationHold[];
  /** What is held and was not seen. */
  readonly unobserved: readonly AllocationHold[];
  /** What was held, was not seen, and is used by what runs: held no longer. So it is when an older store was put back. */
  readonly displaced: readonly AllocationHold[];
  readonly conflicts: readonly ReconcileConflict[];
  /** Nodes of whose holds nothing can be said. */
  readonly damaged: ReadonlySet<string>;
  /** The books were in doubt: all leases are void. */
  readonly generationRaised: boolean;
}

/** The books as they are, and what is known of the nodes. */
export interface ReconcileInput {
  readonly observed: readonly ObservedHold[];
  /** Of the nodes whose documents are in order. */
  readonly nodes: ReadonlyMap<
    string,
    { readonly holds: ReadonlyMap<string, Hold>; readonly parents: MigParents }
  >;
  /** Nodes whose documents are damaged: nothing is written there. */
  readonly damaged: ReadonlySet<string>;
  readonly capacity: CapacityOf;
  /** ISO 8601. */
  readonly takenAt: string;
  /** The books are in doubt already. */
  readonly isDoubtful: boolean;
}

/** What to write, and what to tell. */
export interface ReconcilePlan {
  /** Holds of the nodes that change. */
  readonly changes: ReadonlyMap<string, ReadonlyMap<string, Hold>>;
  readonly report: ReconcileReport;
}

/**
 * Makes the books say what runs. What runs is the truth: it is entered where it runs even when somebody else holds that
 * too. What is held stays held, seen or not, unless something else runs on it. After any entry that was missing or wrong
 * no lease can be believed.
 */
export function planReconcile(input: ReconcileInput): ReconcilePlan {
  const work = new Reconciliation(input);
  for (const [id, seen] of withHoldIds(input)) work.see(id, seen);
  return work.plan();
}

class Reconciliation {
  readonly #input: ReconcileInput;
  readonly #nodes: Map<string, Map<string, Hold>>;
  readonly #nodeOf = new Map<string, string>();
  readonly #touched = new Set<string>();
  readonly #adopted = new Set<string>();
  readonly #changed = new Set<string>();
  readonly #seen = new Set<string>();
  readonly #displaced: AllocationHold[] = [];
  readonly #conflicts: ReconcileConflict[] = [];

  constructor(input: ReconcileInput) {
    this.#input = input;
    this.#nodes = new Map([...input.nodes].map(([id, { holds }]) => [id, new Map(holds)]));
    for (const [nodeId, holds] of this.#nodes) {
      for (const id of holds.keys()) this.#nodeOf.set(id, nodeId);
    }
  }

  /** Takes one running instance in. */
  see(id: string, seen: ObservedHold): void {
    this.#seen.add(id);
    if (seen.nodeId === "" || this.#input.damaged.has(seen.nodeId)) {
      this.#conflicts.push(unwritable(id, seen));
      return;
    }
    const known = this.#find(id);
    if (known?.kind !== "allocation") {
      const claim = seenClaim(seen, []);
      const { takenAt } = this.#input;
      const note = "adopted: it ran and was not held";
      const purpose = purposeOf(seen, seen.operationId);
      const state = "committed";
      this.#put({ kind: "allocation", id, claim, purpose, state, note, takenAt });
      this.#adopted.add(id);
    } else if (differs(known, seen)) {
      const claim = seenClaim(seen, known.claim.devices);
      const note = `follows what runs: it was held as ${placeOf(known.claim)} for ${known.purpose.instanceId}`;
      this.#put({ ...known, claim, purpose: purposeOf(seen, known.purpose.operationId), note });
      this.#changed.add(id);
    }
  }

  plan(): ReconcilePlan {
    const { isDoubtful } = this.#input;
    const generationRaised = isDoubtful || this.#adopted.size + this.#changed.size > 0;
    if (generationRaised) this.#dropLeases();
    for (const nodeId of this.#nodes.keys()) {
      this.#displace(nodeId);
      this.#noteCollisions(nodeId);
    }
    const all = [...this.#nodes.values()].flatMap((holds) => [...holds.values()]);
    const allocations = all.filter((hold) => hold.kind === "allocation");
    const changes = [...this.#touched].map(
      (nodeId) => [nodeId, this.#nodes.get(nodeId) ?? new Map<string, Hold>()] as const,
    );
    return {
      changes: new Map(changes),
      report: {
        adopted: allocations.filter(({ id }) => this.#adopted.has(id)),
        changed: allocations.filter(({ id }) => this.#changed.has(id)),
        unobserved: allocations.filter(({ id }) => !this.#seen.has(id)),
        displaced: this.#displaced,
        conflicts: this.#conflicts,
        damaged: this.#input.damaged,
        generationRaised,
      },
    };
  }

  #find(id: string): Hold | undefined {
    const nodeId = this.#nodeOf.get(id);
    return nodeId === undefined ? undefined : this.#nodes.get(nodeId)?.get(id);
  }

  #put(hold: AllocationHold): void {
    const { nodeId } = hold.claim;
    const former = this.#nodeOf.get(hold.id);
    if (former !== undefined && former !== nodeId) this.#change(former).delete(hold.id);
    this.#change(nodeId).set(hold.id, hold);
    this.#nodeOf.set(hold.id, nodeId);
  }

  #change(nodeId: string): Map<string, Hold> {
    const holds = this.#nodes.get(nodeId) ?? new Map<string, Hold>();
    this.#nodes.set(nodeId, holds);
    this.#touched.add(nodeId);
    return holds;
  }

  #dropLeases(): void {
    for (const [nodeId, holds] of this.#nodes) {
      for (const hold of holds.values()) {
        if (hold.kind === "lease") this.#change(nodeId).delete(hold.id);
      }
    }
  }

  /** Strikes out what was not seen and is used by something that was: to start it there would use a device twice. */
  #displace(nodeId: string): void {
    for (const { holdIds } of this.#collisions(nodeId)) {
      if (!holdIds.some((id) => this.#seen.has(id))) continue;
      for (const id of holdIds) {
        const hold = this.#seen.has(id) ? undefined : this.#find(id);
        if (hold?.kind !== "allocation") continue;
        this.#change(nodeId).delete(id);
        this.#nodeOf.delete(id);
        this.#displaced.push(hold);
      }
    }
  }

  #collisions(nodeId: string): readonly Collision[] {
    const holds = this.#nodes.get(nodeId) ?? new Map<string, Hold>();
    const capacity = this.#input.capacity(nodeId) ?? noCapacity(nodeId, "it is not known");
    const former = this.#input.nodes.get(nodeId)?.parents ?? new Map();
    const use = nodeUse({ capacity, holds: holds.values() });
    return collisions({ ...use, parents: migParents(use, former) });
  }

  #noteCollisions(nodeId: string): void {
    for (const { deviceUuid, holdIds } of this.#collisions(nodeId)) {
      const message = `node ${nodeId}: ${deviceUuid} is held by ${holdIds.join(" and ")}`;
      this.#conflicts.push({ nodeId, deviceUuids: [deviceUuid], holdIds, message });
      for (const id of holdIds) {
        const others = holdIds.filter((other) => other !== id).join(", ");
        this.#note(id, `conflicts with ${others} on ${deviceUuid}`);
      }
    }
  }

  /** Adds to the note of what has just been entered. */
  #note(id: string, text: string): void {
    const hold = this.#find(id);
    const isNew = this.#adopted.has(id) || this.#changed.has(id);
    if (hold?.kind !== "allocation" || !isNew) return;
    const note = hold.note === undefined ? text : `${hold.note}; ${text}`;
    this.#put({ ...hold, note });
  }
}

/**
 * What was seen with the id that it is held under: its allocation's. Several with one allocation cannot be; the one that
 * the books name keeps it, or the first by id, and each other gets an id of its own, the same at every look.
 */
function* withHoldIds({
  observed,
  nodes,
}: ReconcileInput): Generator<readonly [string, ObservedHold]> {
  const holders = new Map<string, string>();
  for (const { holds } of nodes.values()) {
    for (const hold of holds.values()) {
      if (hold.kind === "allocation") holders.set(hold.id, hold.purpose.instanceId);
    }
  }
  const sorted = [...observed].sort((one, other) => (one.instanceId < other.instanceId ? -1 : 1));
  const byAllocation = Map.groupBy(sorted, ({ allocationId }) => allocationId);
  for (const [allocationId, group] of byAllocation) {
    const named = group.find(({ instanceId }) => holders.get(allocationId) === instanceId);
    const owner = allocationId === "" ? undefined : (named ?? group[0]);
    for (const seen of group) {
      yield [seen === owner ? allocationId : `${allocationId}~${seen.instanceId}`, seen];
    }
  }
}

function differs({ claim, purpose }: AllocationHold, seen: ObservedHold): boolean {
  const held = new Set(claim.devices.map(({ uuid }) => uuid));
  return (
    claim.nodeId !== seen.nodeId ||
    held.symmetricDifference(new Set(seen.devices.map(({ uuid }) => uuid))).size > 0 ||
    purpose.instanceId !== seen.instanceId ||
    purpose.blockId !== seen.blockId
  );
}

function seenClaim(seen: ObservedHold, held: readonly DeviceClaim[]): Claim {
  const byUuid = new Map(seen.devices.map((device) => [device.uuid, device]));
  const devices = [...byUuid.values()].map(
    (device) => held.find(({ uuid }) => uuid === device.uuid) ?? device,
  );
  return {
    nodeId: seen.nodeId,
    devices,
    cpuMillis: whole(seen.cpuMillis),
    memoryMiB: whole(seen.memoryMiB),
    storageMiB: whole(seen.storageMiB),
  };
}

function whole(amount: number): number {
  const up = Math.ceil(amount);
  return Number.isSafeInteger(up) && up > 0 ? up : 0;
}

function purposeOf({ blockId, instanceId }: ObservedHold, operationId: string) {
  return { blockId, instanceId, operationId };
}

function placeOf({ nodeId, devices }: Claim): string {
  const uuids = devices.map(({ uuid }) => uuid);
  return uuids.length === 0 ? `node ${nodeId}` : `${uuids.join(", ")} of node ${nodeId}`;
}

function unwritable(id: string, { nodeId, instanceId, devices }: ObservedHold): ReconcileConflict {
  const why = nodeId === "" ? "names no node" : `runs on node ${nodeId}, whose document is damaged`;
  const message = `instance ${instanceId} ${why}: it is not entered`;
  const deviceUuids = devices.map(({ uuid }) => uuid);
  return { nodeId, deviceUuids, holdIds: [id], message };
}
