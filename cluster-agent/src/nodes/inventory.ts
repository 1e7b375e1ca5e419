/** Static inventory of a node, checked and in plain numbers: what a fingerprint says. JSON as stored. */
export interface NodeInventory {
  /** Who the machine is, over boots. */
  readonly machineId: string;
  /** Which boot of it; empty where unknown. */
  readonly bootId: string;
  readonly hostname: string;
  readonly osRelease: string;
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly cpu: {
    readonly modelName: string;
    readonly logicalCores: number;
    /** Absent where unknown. */
    readonly physicalCores?: number;
  };
  readonly memoryMiB: number;
  readonly swapMiB: number;
  readonly disks: readonly DiskInventory[];
  readonly networkInterfaces: readonly NetworkInventory[];
  /** In the order the driver lists them. */
  readonly gpus: readonly GpuInventory[];
  /** Why GPUs could not be listed although a driver seems to be there; empty otherwise. */
  readonly gpuError: string;
  /** How the GPUs hang together; absent where the driver does not say. */
  readonly gpuTopology?: TopologyInventory;
  /** The node is made up by a simulator; absent otherwise. */
  readonly simulated?: true;
}

/** How near the GPUs of a node are to each other, to its network cards and processors. */
export interface TopologyInventory {
  /** Names of the columns behind the GPUs. */
  readonly nics: readonly string[];
  /** One per GPU that the driver told of, in any order. */
  readonly rows: readonly TopologyRow[];
}

/** One GPU's row of the matrix. */
export interface TopologyRow {
  readonly uuid: string;
  /** Path to each GPU of the inventory in its order, then to each network card; empty where unknown. */
  readonly links: readonly string[];
  /** "0-51,104-155"; empty where unknown. */
  readonly cpuAffinity: string;
  /** "0"; empty where unknown. */
  readonly numaAffinity: string;
}

/** One mounted file system. */
export interface DiskInventory {
  readonly device: string;
  readonly mountPoint: string;
  readonly fileSystem: string;
  readonly sizeMiB: number;
}

/** One network interface. */
export interface NetworkInventory {
  readonly name: string;
  /** Absent where the driver does not say. */
  readonly speedMbps?: number;
}

/** One GPU as the driver describes it. Absent fields are not known. */
export interface GpuInventory {
  readonly uuid: string;
  readonly driverIndex: number;
  readonly modelName: string;
  readonly memoryMiB?: number;
  readonly pciBusId: string;
  readonly migEnabled?: boolean;
  readonly powerLimitW?: number;
  readonly driverVersion: string;
  /** Newest CUDA version that the driver supports: "12.4". */
  readonly cudaVersion?: string;
  /** Number of the device file. */
  readonly minorNumber?: number;
  /** Parts that MIG has cut it into; absent without any. */
  readonly migDevices?: readonly MigInventory[];
}

/** One part of a GPU that MIG has cut. */
export interface MigInventory {
  readonly uuid: string;
  /** Position on its GPU. */
  readonly index: number;
  readonly gpuInstanceId: number;
  readonly computeInstanceId: number;
  /** "3g.20gb"; empty where unknown. */
  readonly profile: string;
  /** Absent where the driver does not say. */
  readonly memoryMiB?: number;
}

/** Binding of a GPU slot (its position) to a device, with what is known of it when it is gone. */
export interface GpuSlot {
  readonly uuid: string;
  readonly modelName: string;
  /** Absent where the driver did not say. */
  readonly memoryMiB?: number;
}

/** How far a value can be trusted. */
export type ReadingQuality = "measured" | "derived" | "stale" | "unavailable" | "simulated";

/** Dynamic state of a host, checked and in plain numbers. Absent fields could not be read. */
export interface HostReading {
  /** Age when the message was written, ms. */
  readonly ageMs: number;
  readonly quality: ReadingQuality;
  /** 0-100. */
  readonly cpuUtilizationPercent?: number;
  readonly load1m?: number;
  readonly load5m?: number;
  readonly load15m?: number;
  readonly memoryUsedMiB?: number;
  readonly memoryAvailableMiB?: number;
  readonly swapUsedMiB?: number;
  readonly swapFreeMiB?: number;
  readonly processesTotal?: number;
  readonly processesRunning?: number;
  readonly disks: readonly DiskReading[];
  readonly networkInterfaces: readonly NetworkReading[];
}

/** Use of one mounted file system of the inventory. */
export interface DiskReading {
  readonly mountPoint: string;
  readonly usedMiB: number;
  readonly availableMiB: number;
}

/** Counters since boot of one interface of the inventory. */
export interface NetworkReading {
  readonly name: string;
  readonly transmittedBytes: number;
  readonly receivedBytes: number;
}

/** Dynamic state of one GPU, checked and in plain numbers. Absent fields could not be read. */
export interface GpuReading {
  readonly uuid: string;
  /** Age when the message was written, ms. */
  readonly ageMs: number;
  readonly quality: ReadingQuality;
  /** 0-100. */
  readonly utilizationPercent?: number;
  /** Share of time in which memory was read or written, 0-100. */
  readonly memoryUtilizationPercent?: number;
  readonly memoryUsedMiB?: number;
  readonly memoryFreeMiB?: number;
  readonly temperatureC?: number;
  readonly powerW?: number;
  readonly powerLimitW?: number;
  readonly smClockMhz?: number;
  readonly memoryClockMhz?: number;
  readonly eccUncorrectedTotal?: number;
  /** "P0" (highest) to "P15". */
  readonly performanceState?: string;
  /** Why clocks are lower than they could be. */
  readonly throttleReasons: readonly string[];
}

/** What the driver tells of a GPU less often, checked and in plain numbers. Absent fields could not be read. */
export interface GpuDetailsReading {
  /** Age when the message was written, ms. */
  readonly ageMs: number;
  readonly quality: ReadingQuality;
  readonly eccCorrectedTotal?: number;
  readonly remappedRowsCorrectable?: number;
  readonly remappedRowsUncorrectable?: number;
  readonly rowRemapPending?: boolean;
  readonly rowRemapFailed?: boolean;
  readonly powerW?: number;
  readonly throttleReasons: readonly string[];
  readonly processes: readonly GpuProcessReading[];
  readonly migDevices: readonly MigReading[];
}

/** One program on a GPU. */
export interface GpuProcessReading {
  readonly pid: number;
  readonly name: string;
  readonly memoryUsedMiB?: number;
  /** Berth instance that it belongs to; absent where unknown. */
  readonly instanceId?: string;
}

/** Use of one part of a GPU that is in the inventory. */
export interface MigReading {
  readonly uuid: string;
  readonly memoryUsedMiB?: number;
  readonly memoryFreeMiB?: number;
}
