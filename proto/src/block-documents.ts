/**
 * What a cluster-agent tells of its blocks, ledger and operations, and its own API and the control-plane's answer. Field
 * names are those of the wire.
 */

/** A GPU, or a part of one, as documents name it. */
export interface DeviceDocument {
  /** UUID of the GPU or MIG device. */
  readonly uuid: string;
  /** MiB that were taken of it; absent when it was taken whole. */
  readonly memory?: number;
}

/** What an allocation or a lease takes of one node. */
export interface ClaimDocument {
  readonly node_id: string;
  readonly gpus: readonly DeviceDocument[];
  /** 1,000 = one logical core. */
  readonly cpu_millis: number;
  /** MiB. */
  readonly memory: number;
  /** MiB. */
  readonly storage: number;
}

/** What one instance of a block holds. */
export interface AllocationDocument extends ClaimDocument {
  readonly allocation_id: string;
  readonly block_id: string;
  readonly instance_id: string;
  readonly operation_id: string;
  /** `quarantined`: the instance may still run although nobody hears of it. */
  readonly state: "committed" | "quarantined";
  /** Its instance is in no record. */
  readonly orphan: boolean;
  /** Why it is quarantined or in doubt, for people; absent otherwise. */
  readonly note?: string;
  /** ISO 8601. */
  readonly taken_at: string;
}

/** A claim that ends by itself. */
export interface LeaseDocument extends ClaimDocument {
  readonly lease_id: string;
  /** Who holds it. */
  readonly subject: string;
  /** What is left when the document was written. */
  readonly ttl_left_ms: number;
  readonly renewals: number;
  readonly age_ms: number;
  /** Why it holds nothing any more, for people; absent while it holds. */
  readonly void?: string;
}

/** Whether a cluster's ledger gives and takes. */
export interface LedgerDocument {
  readonly state: "open" | "closed";
  /** What it waits for; absent when it is open. */
  readonly why?: string;
  /** Raised each time that the books were found to be wrong; older leases are void. */
  readonly generation: number;
  /** Raised at each change; decimal. */
  readonly revision: string;
}

/** One instance of a block. */
export interface InstanceDocument {
  readonly instance_id: string;
  readonly node_id: string;
  readonly gpus: readonly DeviceDocument[];
  /** "pending", "running", "restarting", "terminating", or "absent": in the record and nowhere else. */
  readonly phase: string;
  readonly ready: boolean;
  readonly restarts: number;
  /** Why it does not run or is not ready, for people; absent when it is ready. */
  readonly message?: string;
  /** Where it answers; absent while it does not. */
  readonly endpoint?: string;
  readonly allocation_id: string;
}

/** A block as its cluster's agent tells it: the record without what its owner wrote. */
export interface BlockDocument {
  readonly block_id: string;
  /** "creating", "running", "removing". */
  readonly phase: string;
  readonly component_uri: string;
  /** Bounds of the number of instances; absent when the entry has none. */
  readonly min_instances?: number;
  readonly max_instances?: number;
  readonly instances: readonly InstanceDocument[];
  readonly created_at: string;
  readonly updated_at: string;
}

/** Something that was asked for, and how far it has come. */
export interface OperationDocument {
  readonly operation_id: string;
  readonly action: string;
  readonly block_id: string;
  readonly state: "running" | "undoing" | "done" | "failed" | "stuck" | "abandoned";
  readonly step: string;
  readonly progress: { readonly done: number; readonly total: number };
  readonly attempts: number;
  readonly idempotency_key?: string;
  readonly error?: {
    readonly reason: string;
    readonly message: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
  readonly result?: unknown;
  readonly created_at: string;
  readonly updated_at: string;
}
