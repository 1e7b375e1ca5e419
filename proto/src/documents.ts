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
  /** Gravest class of what is known to be wrong with it; absent when nothing is. */
  readonly health?: HealthClassName;
  /** Why it is unhealthy, for people; absent otherwise. */
  readonly reason?: string;
  /** PCI bus address: "00000000:01:00.0". */
  readonly pciBusId?: string;
  /** Whether MIG is switched on; absent where the device does not support it. */
  readonly migEnabled?: boolean;
  /** Parts that MIG has cut it into; absent without any. */
  readonly migDevices?: readonly MigDeviceEntry[];
  /** Processors that are near: "0-51,104-155". */
  readonly cpuAffinity?: string;
  /** NUMA nodes that are near: "0". */
  readonly numaAffinity?: string;
}

/** One part of a GPU that MIG has cut. */
export interface MigDeviceEntry {
  readonly uuid: string;
  /** Position on its GPU. */
  readonly index: number;
  /** "3g.20gb"; empty where unknown. */
  readonly profile: string;
  /** MB; 0 where the driver does not say. */
  readonly memory: number;
}

/** What a fact of health asks for, the gravest last: nothing, a look at a program, a reset, a repair. */
export type HealthClassName = "info" | "application" | "reset" | "hardware";

/** How near the GPUs of a node are to each other and to its network cards, in slot order. */
export interface GpuTopologyEntry {
  readonly nics: readonly string[];
  /**
   * One row per slot: the path to each slot, then to each network card. "X" (itself), "NV18", "PIX", "PXB",
   * "PHB", "NODE", "SYS"; empty where unknown.
   */
  readonly links: readonly (readonly string[])[];
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
    /** Absent where the driver does not say. */
    readonly topology?: GpuTopologyEntry;
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
  /** The node is made up by a simulator; absent otherwise. */
  readonly simulated?: true;
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
  /** Some of its nodes are made up by a simulator; absent otherwise. */
  readonly simulated?: true;
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
  /** W. */
  readonly powerLimit?: number;
  /** Clock of the streaming multiprocessors, MHz. */
  readonly smClock?: number;
  /** MHz. */
  readonly memClock?: number;
  /** Share of time in which memory was read or written, 0-100. */
  readonly memBandwidthUtilization?: number;
  /** Uncorrected ECC errors since the driver was loaded. */
  readonly eccUncorrected?: number;
  /** Corrected ones; as old as `details_age_ms`. */
  readonly eccCorrected?: number;
  /** Why clocks are lower than they could be: "sw_power_cap", ...; absent when they are not. */
  readonly throttleReasons?: readonly string[];
  /** Programs on it, at most 256, as old as `details_age_ms`; absent where the driver has not told lately. */
  readonly processes?: readonly GpuProcessEntry[];
  /** Use of the parts that MIG has cut, as old as `details_age_ms`; absent without any. */
  readonly migDevices?: readonly {
    readonly uuid: string;
    readonly usedMem?: number;
    readonly freeMem?: number;
  }[];
  /** Gravest class of what is known to be wrong with it; absent when nothing is. */
  readonly health?: HealthClassName;
  /** What is known to be wrong with it, the gravest first, at most 8; absent when nothing is. */
  readonly healthFacts?: readonly HealthFactEntry[];
  /** Why it is unhealthy, for people; absent otherwise. */
  readonly reason?: string;
  readonly quality: string;
  /** Age of the reading when the document was written, ms. */
  readonly age_ms?: number;
  /** Age of what is read once a minute, ms; absent when that is too old to stand for now. */
  readonly details_age_ms?: number;
}

/** One program that uses a GPU. */
export interface GpuProcessEntry {
  readonly pid: number;
  readonly name: string;
  /** MB. */
  readonly usedMem?: number;
  /** Berth instance that it belongs to; absent where unknown. */
  readonly instance_id?: string;
}

/** One thing that is or went wrong, with its evidence. */
export interface HealthFactEntry {
  readonly fact_id: string;
  /** "xid", "ecc_uncorrected", "fallen_off_bus", "driver_hung", ... as berth.node.v1.HealthFact names them. */
  readonly kind: string;
  readonly class: HealthClassName;
  /** Number of the XID or SXid; absent otherwise. */
  readonly code?: number;
  /** Line of the kernel log, or the values read. */
  readonly evidence: string;
  /** Whether it still holds. */
  readonly holds: boolean;
  readonly age_ms: number;
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
  /** What is wrong with the node itself, or with a GPU that has no slot, at most 8; absent when nothing is. */
  readonly healthFacts?: readonly HealthFactEntry[];
  /**
   * "measured", "simulated" of a simulated node, or "unavailable" when XIDs cannot be seen; absent before the first
   * word of it.
   */
  readonly kernelLog?: string;
  /** Why it is unhealthy, for people; absent otherwise. */
  readonly reason?: string;
  /** Made up by a simulator; absent otherwise. */
  readonly simulated?: true;
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
    readonly state: GpuState;
    /** Gravest class of what is known to be wrong with it; absent when nothing is. */
    readonly health?: HealthClassName;
    /** Why it is unhealthy, for people; absent otherwise. */
    readonly reason?: string;
  }[];
  /** Why the node is unhealthy, or takes nothing new although it is well, for people; absent otherwise. */
  readonly reason?: string;
  /** Made up by a simulator; absent otherwise. */
  readonly simulated?: true;
}

/**
 * Totals of a cluster in the words of the org resource manager's seed, over its live nodes. Null where nothing
 * is known: of a cluster without an agent only the totals of its document are.
 */
export interface ClusterTotals {
  /** Cores. */
  readonly total_cpu: number | null;
  /** Cores. */
  readonly used_cpu: number | null;
  /** MB. */
  readonly total_memory: number | null;
  /** MB. */
  readonly used_memory: number | null;
  readonly total_gpus: number | null;
  /** Mean percent over the GPUs; null without GPUs. */
  readonly gpu_utilization: number | null;
}

/** Capacity, what can still be given out, and the used share in percent. */
export interface UsageStatus {
  readonly total: number | null;
  readonly allocatable: number | null;
  readonly usage_percent: number | null;
}
