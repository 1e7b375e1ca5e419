/** What a node has to give, as its node-agent reports it and its ledger divides it. */
export interface NodeCapacity {
  readonly nodeId: string;
  /** Why nothing may be taken there: not joined yet, cordoned, silent; undefined when it may. */
  readonly refusal?: string | undefined;
  readonly gpus: readonly GpuCapacity[];
  /** 1,000 = one logical core. */
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
}

/** One GPU of a node. */
export interface GpuCapacity {
  readonly uuid: string;
  /** Position on the node: what the wire calls its id. */
  readonly slot: number;
  /** 0 where the driver does not say: then it can only be taken whole. */
  readonly memoryMiB: number;
  /** Why it may not be taken: unhealthy, cordoned; undefined when it may. */
  readonly refusal?: string | undefined;
  /** Parts that MIG has cut it into. A GPU with MIG on can only be taken in parts. */
  readonly migEnabled: boolean;
  readonly migDevices: readonly { readonly uuid: string; readonly memoryMiB: number }[];
}

/** One device that is asked for or taken. */
export interface DeviceClaim {
  /** UUID of a GPU or of a MIG device. */
  readonly uuid: string;
  /** GPU memory that is taken of it; undefined = the whole device, which nobody shares. */
  readonly memoryMiB?: number | undefined;
}

/** What one instance needs of one node. Amounts may be 0. */
export interface Claim {
  readonly nodeId: string;
  readonly devices: readonly DeviceClaim[];
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly storageMiB: number;
}

/** For what an allocation stands. */
export interface Purpose {
  readonly blockId: string;
  readonly instanceId: string;
  readonly operationId: string;
}

/** Something that holds a claim: a lease, which ends by itself, or an allocation, which is freed. JSON as stored. */
export type Hold = AllocationHold | LeaseHold;

/** A claim of an instance. */
export interface AllocationHold {
  readonly kind: "allocation";
  readonly id: string;
  readonly claim: Claim;
  readonly purpose: Purpose;
  /** `quarantined`: the instance may still run although nobody hears of it; not free until that is refuted. */
  readonly state: "committed" | "quarantined";
  /** Why it is quarantined or in doubt, for people. */
  readonly note?: string;
  /** ISO 8601, for people. */
  readonly takenAt: string;
}

/** A claim that ends by itself. */
export interface LeaseHold {
  readonly kind: "lease";
  readonly id: string;
  readonly claim: Claim;
  /** Who holds it: what the cap per subject counts. */
  readonly subject: string;
  readonly ttlMs: number;
  readonly renewals: number;
  /** End on the machine's boot clock, ms; void in another boot. */
  readonly endsAtBootMs: number;
  readonly bootId: string;
  /** Store that it was given out for; void for another one. Empty for callers of this cluster's own API. */
  readonly storeId: string;
  /** Generation of the ledger that it was given out in. */
  readonly generation: number;
  /** ISO 8601, for people. */
  readonly takenAt: string;
}

/** Why something cannot be taken, or a lease not be renewed or used. The message names node, device and holder. */
export interface LedgerRefusal {
  readonly kind: "refused";
  readonly reason:
    | "closed"
    | "unknown_node"
    | "node_refuses"
    | "unknown_device"
    | "device_refuses"
    | "taken"
    | "not_enough"
    | "over_cap"
    | "unknown_lease"
    | "expired"
    | "fenced"
    | "exists"
    | "invalid";
  readonly message: string;
  /** UUIDs of the devices that stood in the way; empty when it was something else. */
  readonly deviceUuids: readonly string[];
  /** The lease that was to be taken over and is void, somebody else's or too little; absent when it was something else. */
  readonly leaseId?: string;
}
