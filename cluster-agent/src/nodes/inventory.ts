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
}
