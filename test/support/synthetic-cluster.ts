import type {
  ClusterDocument,
  GpuEntry,
  GpuMetrics,
  GpuState,
  NodeEntry,
  NodeMetrics,
} from "@berth/proto";

/** How large a {@link SyntheticCluster} is. */
export interface ClusterShape {
  readonly nodes: number;
  readonly gpusPerNode: number;
}

/** What a {@link SyntheticCluster} is made from; equal options make equal clusters. */
export interface SyntheticClusterOptions {
  readonly id: string;
  readonly shape: ClusterShape;
  readonly seed: number;
}

const GPU_MEMORY_MIB = 81_920;
const NODE_MEMORY_MIB = 1_048_576;
const SWAP_MIB = 8_192;
const DISK_MIB = 3_662_109;
const CORES = 128;
const BANDWIDTH_MBPS = 200_000;
/** Share of the GPUs that is in use at first. */
const ALLOCATED_SHARE = 0.4;
/** Longest step of a reading between two reports, as a share of its range. */
const STEP = 0.05;

interface Gpu {
  readonly uuid: string;
  state: GpuState;
  /** Shares of the range, 0-1. */
  memory: number;
  load: number;
}

interface Node {
  readonly id: string;
  readonly gpus: readonly Gpu[];
  /** Shares of the range, 0-1. */
  cpu: number;
  memory: number;
  disk: number;
  sentBytes: number;
}

/**
 * A cluster that is not there: documents in the shapes that a cluster-agent sends, with readings that
 * drift from report to report. Everything comes from the seed.
 */
export class SyntheticCluster {
  readonly id: string;
  readonly #random: () => number;
  readonly #nodes: readonly Node[];

  constructor({ id, shape, seed }: SyntheticClusterOptions) {
    this.id = id;
    const random = seededRandom(seed);
    this.#random = random;
    this.#nodes = Array.from({ length: shape.nodes }, (_, node) => ({
      id: `${id}-node-${node}`,
      gpus: Array.from({ length: shape.gpusPerNode }, (_, slot) =>
        aGpu(`${id}-${node}-${slot}`, random),
      ),
      cpu: random(),
      memory: random(),
      disk: random(),
      sentBytes: Math.floor(random() * 1e12),
    }));
  }

  /** Moves every reading by a small step. */
  drift(): void {
    const random = this.#random;
    for (const node of this.#nodes) {
      node.cpu = stepped(node.cpu, random);
      node.memory = stepped(node.memory, random);
      node.sentBytes += Math.floor(random() * 1e9);
      for (const gpu of node.gpus) {
        if (gpu.state === "free") continue;
        gpu.memory = stepped(gpu.memory, random);
        gpu.load = stepped(gpu.load, random);
      }
    }
  }

  /** Gives one GPU out, or takes it back: the one kind of change that the cluster document sees. */
  churn(): void {
    const node = pick(this.#nodes, this.#random);
    const gpu = node && pick(node.gpus, this.#random);
    if (gpu === undefined) return;
    const wasFree = gpu.state === "free";
    gpu.state = wasFree ? "allocated" : "free";
    gpu.memory = wasFree ? 0.5 : 0;
    gpu.load = wasFree ? 0.5 : 0;
  }

  /** The cluster document as it is now. */
  document(): ClusterDocument {
    const nodes = this.#nodes.map(nodeEntry);
    const total = (value: (node: NodeEntry) => number) =>
      nodes.reduce((sum, node) => sum + value(node), 0);
    return {
      id: this.id,
      regionId: "synthetic",
      status: "live",
      nodes: { count: nodes.length, nodeData: nodes },
      gpus: { count: total((node) => node.gpus.count), memory: total((node) => node.gpus.memory) },
      vcpus: { count: total((node) => node.vcpus.count) },
      memory: total((node) => node.memory),
      swap: total((node) => node.swap),
      storage: {
        disks: total((node) => node.storage.disks),
        size: total((node) => node.storage.size),
      },
      network: {
        interfaces: total((node) => node.network.interfaces),
        txBandwidth: total((node) => node.network.txBandwidth),
        rxBandwidth: total((node) => node.network.rxBandwidth),
      },
      config: { urlMap: { controllerService: "http://127.0.0.1:32000/controller" } },
      tags: ["synthetic"],
      clusterMetadata: { name: this.id, vendor: "berth" },
      reputation: 90,
    };
  }

  /** Metrics of all nodes as they are now. */
  nodes(): readonly NodeMetrics[] {
    return this.#nodes.map(nodeMetrics);
  }
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One item of a list; undefined when it is empty. */
export function pick<T>(items: readonly T[], random: () => number): T | undefined {
  return items[Math.floor(random() * items.length)];
}

function aGpu(name: string, random: () => number): Gpu {
  const isFree = random() >= ALLOCATED_SHARE;
  return {
    uuid: `GPU-${name}`,
    state: isFree ? "free" : "allocated",
    memory: isFree ? 0 : random(),
    load: isFree ? 0 : random(),
  };
}

function stepped(share: number, random: () => number): number {
  return Math.min(1, Math.max(0, share + (random() * 2 - 1) * STEP));
}

function nodeEntry(node: Node): NodeEntry {
  const gpus = node.gpus.map(
    ({ uuid, state }, slot): GpuEntry => ({
      id: String(slot),
      uuid,
      modelName: "NVIDIA H100 80GB HBM3",
      memory: GPU_MEMORY_MIB,
      state,
    }),
  );
  return {
    id: node.id,
    gpus: {
      count: gpus.length,
      memory: gpus.length * GPU_MEMORY_MIB,
      gpus,
      features: [],
      modelNames: [...new Set(gpus.map((gpu) => gpu.modelName))],
    },
    free_gpus: freeGpus(node),
    vcpus: { count: CORES },
    memory: NODE_MEMORY_MIB,
    swap: SWAP_MIB,
    storage: { disks: 1, size: DISK_MIB },
    network: { interfaces: 1, txBandwidth: BANDWIDTH_MBPS, rxBandwidth: BANDWIDTH_MBPS },
    tags: [],
    nodeMetadata: {
      hostname: node.id,
      osRelease: "Debian GNU/Linux 12 (bookworm)",
      kernelRelease: "6.1.0-18-amd64",
      architecture: "x86_64",
      cpuModel: "AMD EPYC 9554 64-Core Processor",
      bootId: `boot-of-${node.id}`,
      agentVersion: "0.1.0",
      firstSeenAt: "2026-01-01T00:00:00.000Z",
      gpuDriverVersion: "550.127.05",
    },
  };
}

function nodeMetrics(node: Node): NodeMetrics {
  const gpus = node.gpus.map(gpuMetrics);
  const load = round(node.cpu * CORES);
  const usedMiB = Math.round(node.memory * NODE_MEMORY_MIB);
  const diskUsedMiB = Math.round(node.disk * DISK_MIB);
  const disk = { freeMem: DISK_MIB - diskUsedMiB, usedMem: diskUsedMiB };
  const traffic = { txBytesTotal: node.sentBytes, rxBytesTotal: Math.floor(node.sentBytes / 2) };
  return {
    id: node.id,
    node_id: node.id,
    status: "healthy",
    age_ms: 120,
    quality: "measured",
    memory: {
      freeMem: NODE_MEMORY_MIB - usedMiB,
      usedMem: usedMiB,
      averageUtil: round(node.memory * 100),
      usedSwap: 0,
      freeSwap: SWAP_MIB,
    },
    vcpu: {
      count: CORES,
      utilization: round(node.cpu * 100),
      load1m: load,
      load5m: load,
      load15m: load,
      load_1m: load,
      load_5m: load,
      load_15m: load,
      runningProcesses: 4,
      totalProcesses: 900,
    },
    storage: { ...disk, disks: { memory: { ...disk, maxDisk: DISK_MIB, minDisk: DISK_MIB } } },
    network: { ...traffic, ifaces: traffic },
    ...(gpus.length === 0 ? {} : { gpu: gpuTotals(gpus) }),
    gpus,
    free_gpus: freeGpus(node),
  };
}

function gpuMetrics({ uuid, state, memory, load }: Gpu, slot: number): GpuMetrics {
  const usedMem = Math.round(memory * GPU_MEMORY_MIB);
  return {
    gpu_id: slot,
    id: String(slot),
    uuid,
    state,
    usedMem,
    freeMem: GPU_MEMORY_MIB - usedMem,
    totalMem: GPU_MEMORY_MIB,
    memUtilization: round(memory * 100),
    cudaUtilization: Math.round(load * 100),
    powerUtilization: round(70 + load * 630),
    temperature: Math.round(30 + load * 50),
    quality: "measured",
  };
}

function gpuTotals(gpus: readonly GpuMetrics[]): Record<string, number> {
  const total = (value: (gpu: GpuMetrics) => number | undefined) =>
    gpus.reduce((sum, gpu) => sum + (value(gpu) ?? 0), 0);
  return {
    totalUsedMem: total((gpu) => gpu.usedMem),
    totalFreeMem: total((gpu) => gpu.freeMem),
    totalMem: total((gpu) => gpu.totalMem),
    avgMemUtilization: total((gpu) => gpu.memUtilization) / gpus.length,
    avgCudaUtilization: total((gpu) => gpu.cudaUtilization) / gpus.length,
    avgPowerUtilization: total((gpu) => gpu.powerUtilization) / gpus.length,
    avgTemperature: total((gpu) => gpu.temperature) / gpus.length,
    count: gpus.length,
  };
}

function freeGpus(node: Node): number {
  return node.gpus.filter((gpu) => gpu.state === "free").length;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
