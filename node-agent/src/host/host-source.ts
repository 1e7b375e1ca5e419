import type { Fingerprint, HostSample } from "@berth/proto";
import type { Part } from "@berth/service-kit/base";

/**
 * The fingerprint without what other parts know: the identity and the GPUs. A plain object, not a whole
 * message (protobuf-es takes anything with a `$typeName` for a finished one).
 */
export type HostFacts = Pick<
  Fingerprint,
  | "hostname"
  | "osRelease"
  | "kernelRelease"
  | "architecture"
  | "cpu"
  | "memoryMib"
  | "swapMib"
  | "disks"
  | "networkInterfaces"
> &
  Partial<Pick<Fingerprint, "simulated">>;

/** What a host source tells: a sample is there, or the facts are others. */
export type HostEvent = "sample" | "facts";

/** Where a node-agent has its host's facts and samples from: the machine, or a recording. */
export interface HostSource extends Part {
  /** Resolves when the facts are known or the source was stopped. */
  readonly ready: Promise<void>;
  /** The facts; undefined before `ready`. */
  facts(): HostFacts | undefined;
  /** The newest sample with its age now; undefined before the first one. */
  sample(): HostSample | undefined;
  /** Sets the time between two samples in ms; sampling begins with the first call. */
  setIntervalMs(intervalMs: number): void;
  /** Calls `listener` at each event until the returned function is called. */
  subscribe(listener: (event: HostEvent) => void): () => void;
}
