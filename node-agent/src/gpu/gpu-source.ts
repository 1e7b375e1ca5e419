import type { GpuInfo, GpuSample, GpuTopology } from "@berth/proto";
import type { Part } from "@berth/service-kit/base";

/** The GPUs of a node as they are known now. */
export interface GpuInventory {
  readonly gpus: readonly GpuInfo[];
  /** Why GPUs are not listed, or no longer readable, although a driver is there; "" otherwise. */
  readonly error: string;
  /** A child of the driver's tool was killed and did not die; `error` says so too. */
  readonly driverHung: boolean;
  /** How the GPUs hang together; undefined where the driver does not say. */
  readonly topology: GpuTopology | undefined;
  /**
   * What the driver printed beside its answers, for health to read, each line once: warnings ("WARNING:
   * infoROM is corrupted at gpu 0000:01:00.0") and GPUs that it cannot reach ("Unable to determine the
   * device handle for GPU3: 0000:5F:00.0: Unknown Error"). At most 16 lines of 300 characters.
   */
  readonly remarks: readonly string[];
}

/**
 * What a GPU source tells: a round of samples is there, the inventory (one of its fields) is another
 * one, or the details of the GPUs are new or have grown stale.
 */
export type GpuEvent = "samples" | "inventory" | "details";

/** States of the child that samples; `hung` when it, or a query, was killed and did not die. */
export const GPU_CHILD_STATES = ["running", "stopped", "hung"] as const;

/** How a source comes by its samples, for those who watch the agent itself. */
export interface GpuActivity {
  readonly child: (typeof GPU_CHILD_STATES)[number];
  /** Sampling children that were started so far. */
  readonly childStarts: number;
  /** Time between two rounds that was asked for, in ms; 0 before the first call. */
  readonly wantedIntervalMs: number;
  /** The one in force: longer while the child is dear. */
  readonly intervalMs: number;
}

/**
 * Names the Berth instance that a process belongs to, "" where that cannot be known. It must not reject,
 * and must not take long whatever the process does.
 */
export type InstanceOf = (pid: number) => Promise<string>;

/** Where a node-agent has its GPUs from: the driver, or a recording. */
export interface GpuSource extends Part {
  /** Resolves when the first inventory is known (an empty one counts) or the source was stopped. */
  readonly ready: Promise<void>;
  /** The inventory now. */
  inventory(): GpuInventory;
  /**
   * One sample per GPU of the inventory, with its age now, each with the newest details, which have an
   * age and a quality of their own; details are absent before the first answer. The quality of a GPU
   * whose first reading may still come is `UNSPECIFIED`, which says nothing of it.
   */
  samples(): GpuSample[];
  activity(): GpuActivity;
  /** Sets the time between two rounds in ms; sampling begins with the first call. */
  setIntervalMs(intervalMs: number): void;
  /** Calls `listener` at each event until the returned function is called. */
  subscribe(listener: (event: GpuEvent) => void): () => void;
}
