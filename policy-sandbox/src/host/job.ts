import {
  BELL,
  EXIT,
  type RunMessage,
  SHORT_RUN_MS,
  WATCHDOG_SLACK_MS,
} from "../protocol/messages.ts";
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
  | "late"
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
      /** False when the worker cannot have done anything of the job: it may run on another one. */
      readonly begun: boolean;
    };

type Ended = Extract<JobReply, { kind: "ended" }>;

const TOLD_AS_IT_IS: readonly EndCause[] = ["wall", "cpu", "canceled", "closed"];

/** Whether a job whose worker has ended is as good as new: neither did it begin, nor was it meant to end. */
export function mayRunElsewhere({ begun, cause }: Ended): boolean {
  return !begun && !TOLD_AS_IT_IS.includes(cause);
}

/** The message of a worker's end, as it is told of a job. */
export function endMessage(ended: Ended): string {
  return mayRunElsewhere(ended) ? `${ended.message} before the policy began` : ended.message;
}

/** Why a process ended that nobody here has killed. */
export function endOf(
  code: number | null,
  signal: NodeJS.Signals | null,
  stderr: string,
): { cause: EndCause; message: string } {
  if (code === EXIT.wall) return { cause: "wall", message: "the policy ignored its deadline" };
  if (code === EXIT.cpu) return { cause: "cpu", message: "the policy ignored its deadline" };
  const how = signal === null ? `left with code ${String(code)}` : `was ended by ${signal}`;
  const oom = stderr.includes("JavaScript heap out of memory");
  if (oom) return { cause: "memory", message: "the worker's heap overflowed" };
  return { cause: "exit", message: `the worker ${how}` };
}

/** The byte that goes ahead of a job: how it is watched over. */
export function bellFor({ wallMs, graceMs }: Job["message"]): Uint8Array {
  const short = wallMs + graceMs + WATCHDOG_SLACK_MS < SHORT_RUN_MS;
  return Uint8Array.of(short ? BELL.short : BELL.long);
}
