/**
 * The JSON documents of the seeds, as they cross the agent link inside `Entry.json`, reach policies
 * and answer REST requests. Names and units are the seeds': memory and storage in MB (MiB in truth,
 * as the existing deployment measures them), bandwidth in Mbit/s, utilization 0-100.
 *
 * @module
 */

/** GPUs of one node as the cluster document lists them. A GPU's id is its position, a decimal string. */
export interface GpuEntry {
  /** Slot of the GPU on its node: "0", "1", ... Bound to the UUID at first sight. */
  readonly id: string;
  readonly uuid: string;
  readonly modelName: string;
  /** MB; 0 where the driver does not say. */
  readonly memory: number;
  readonly state: GpuState;
}

/** What a GPU can be used for, as its cluster's ledger says. */
export type GpuState = "free" | "leased" | "allocated" | "cordoned" | "unhealthy";

/** One node of a cluster document (seed `nodes.nodeData[]`). */
export interface NodeEntry {
  readonly id: string;
  readonly gpus: {
    readonly count: number;
    /** Sum over the GPUs, MB. */
    readonly memory: number;
    readonly gpus: readonly GpuEntry[];
    readonly features: readonly string[];
    readonly modelNames: readonly string[];
  };
  /** GPUs whose state is "free". */
  readonly free_gpus: number;
  readonly vcpus: { readonly count: number };
  /** MB. */
  readonly memory: number;
  /** MB. */
  readonly swap: number;
  /** `size` in MB. */
  readonly storage: { readonly disks: number; readonly size: number };
  /** Bandwidths in Mbit/s, summed over interfaces; 0 where unknown. */
  readonly network: {
    readonly interfaces: number;
    readonly txBandwidth: number;
    readonly rxBandwidth: number;
  };
  readonly tags: readonly string[];
  readonly nodeMetadata: Readonly<Record<string, unknown>>;
}

/** The cluster document (seed "Cluster DB"): what a cluster is. Aggregates are sums over its nodes. */
export interface ClusterDocument {
  readonly id: string;
  readonly regionId: string;
  /** "live" while the agent reports; the control-plane says "unreachable" when it does not. */
  readonly status: string;
  readonly nodes: { readonly count: number; readonly nodeData: readonly NodeEntry[] };
  readonly gpus: { readonly count: number; readonly memory: number };
  readonly vcpus: { readonly count: number };
  readonly memory: number;
  readonly swap: number;
  readonly storage: { readonly disks: number; readonly size: number };
  readonly network: {
    readonly interfaces: number;
    readonly txBandwidth: number;
    readonly rxBandwidth: number;
  };
  readonly config: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly clusterMetadata: Readonly<Record<string, unknown>>;
  /** 0-100. */
  readonly reputation: number;
}

/** Dynamic state of one GPU inside {@link NodeMetrics}. Absent fields could not be read. */
export interface GpuMetrics {
  /** Slot as a number, as existing clients read it. */
  readonly gpu_id: number;
  /** Slot as a string, as placements name it. */
  readonly id: string;
  readonly uuid: string;
  readonly state: GpuState;
  /** MB. */
  readonly usedMem?: number;
  /** MB. */
  readonly freeMem?: number;
  /** MB. */
  readonly totalMem?: number;
  /** Memory in use, 0-100. */
  readonly memUtilization?: number;
  /** Share of time in which a kernel ran, 0-100. */
  readonly cudaUtilization?: number;
  /** W, in spite of its name. */
  readonly powerUtilization?: number;
  /** Degrees Celsius. */
  readonly temperature?: number;
  readonly quality: string;
}

/** Metrics of one node (existing deployment's `node` object, both spellings of the loads). */
export interface NodeMetrics {
  readonly id: string;
  readonly node_id: string;
  readonly status: "healthy" | "unhealthy";
  /** Age of the newest sample when the document was written, ms. */
  readonly age_ms: number;
  readonly quality: string;
  readonly memory: Readonly<Record<string, number>>;
  readonly vcpu: Readonly<Record<string, number>>;
  readonly storage: Readonly<Record<string, unknown>>;
  readonly network: Readonly<Record<string, unknown>>;
  /** Aggregates over the node's GPUs; absent on a node without GPUs. */
  readonly gpu?: Readonly<Record<string, number>>;
  readonly gpus: readonly GpuMetrics[];
  readonly free_gpus: number;
}

/** Metrics aggregated over a cluster's live nodes: group -> flattened key -> number. */
export type AggregateMetrics = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** Metrics of a cluster: what policies get as `cluster_metrics` and `/cluster/<id>` answers. */
export interface ClusterMetrics {
  readonly clusterId: string;
  readonly cluster: AggregateMetrics;
  readonly nodes: readonly NodeMetrics[];
}

/** One item of `/nodes_status` (seed stability checker, `nodes_data`). */
export interface NodeStatus {
  readonly node_id: string;
  readonly status: "healthy" | "unhealthy";
  /** 0-100; null before the first sample. */
  readonly cpu_utilization_percent: number | null;
  /** MB; null before the first sample. */
  readonly memory: UsageStatus;
  /** MB; null before the first sample. */
  readonly disk: UsageStatus;
  readonly gpus: readonly {
    readonly id: number;
    readonly utilization: number | null;
    readonly memory: { readonly total: number | null; readonly usage_percent: number | null };
  }[];
}

/** Capacity, what can still be given out, and the used share in percent. */
export interface UsageStatus {
  readonly total: number | null;
  readonly allocatable: number | null;
  readonly usage_percent: number | null;
}
