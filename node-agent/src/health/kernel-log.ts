import type { Quality } from "@berth/proto";
import type { Part } from "@berth/service-kit/base";

/** One message of the kernel log. */
export interface KernelMessage {
  /** Number of the message in this boot. */
  readonly seq: number;
  /** When it was logged, in ms of the agent's clock; negative for what was before the agent's start. */
  readonly atMs: number;
  /** The message in one line. */
  readonly text: string;
}

/** Where a node-agent has the kernel log from: the kernel, or a simulator's script. */
export interface KernelLog extends Part {
  /** Resolves when what was logged before the start was told, cannot be read, or the log was stopped. */
  readonly ready: Promise<void>;
  /** Whether the log can be read: measured, unavailable or simulated. */
  quality(): Quality;
  /** Calls `listener` with new messages, in their order, and with none when the quality has changed. */
  subscribe(listener: (messages: readonly KernelMessage[]) => void): () => void;
}
