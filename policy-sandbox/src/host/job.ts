import type { RunMessage } from "../protocol/messages.ts";
import type { RunFacts } from "./worker-messages.ts";

/** One run, as the process sees it. */
export interface Job {
  readonly message: Omit<RunMessage, "type" | "id">;
  readonly sections: readonly Uint8Array[];
  readonly rssMiB: number;
  /** Host calls that are answered; some calls later the worker is killed. */
  readonly hostCalls: number;
  /** Largest frame that the worker may answer with. */
  readonly replyBytes: number;
  /** Answers the worker's host calls; the signal fires when the run ends. Must not reject. */
  readonly answer: (text: string, context: AnswerContext) => Promise<string>;
}

/** What the answer to a host call may depend on. */
export interface AnswerContext {
  readonly signal: AbortSignal;
  /** 1 for the first call of the run. */
  readonly seq: number;
  /** Until the run's wall deadline. */
  readonly remainingMs: number;
}

/** Why a worker process ended. */
export type EndCause =
  | "wall"
  | "cpu"
  | "memory"
  | "exit"
  | "trap"
  | "protocol"
  | "host_calls"
  | "spawn"
  | "canceled"
  | "closed";

/** How a run ended; after `ended` the process is gone. */
export type JobReply =
  | { readonly kind: "done"; readonly facts: RunFacts; readonly sections: readonly Uint8Array[] }
  | {
      readonly kind: "ended";
      readonly cause: EndCause;
      readonly message: string;
      readonly cpuMs: number;
    };
