import type { GpuInfo, GpuSample } from "@berth/proto";
import type { Part } from "@berth/service-kit/base";

/** The GPUs of a node as they are known now. */
export interface GpuInventory {
  readonly gpus: readonly GpuInfo[];
  /** Why GPUs are not listed, or no longer readable, although a driver is there; "" otherwise. */
  readonly error: string;
}

/** What a GPU source tells: a round of samples is there, or the inventory is another one. */
export type GpuEvent = "samples" | "inventory";

/** Where a node-agent has its GPUs from: the driver, or a recording. */
export interface GpuSource extends Part {
  /** Resolves when the first inventory is known (an empty one counts) or the source was stopped. */
  readonly ready: Promise<void>;
  /** The inventory now. */
  inventory(): GpuInventory;
  /** One sample per GPU of the inventory, with its age now. */
  samples(): GpuSample[];
  /** Sets the time between two rounds in ms; sampling begins with the first call. */
  setIntervalMs(intervalMs: number): void;
  /** Calls `listener` at each event until the returned function is called. */
  subscribe(listener: (event: GpuEvent) => void): () => void;
}
