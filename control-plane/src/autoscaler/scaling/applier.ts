import type { Reason } from "@berth/service-kit";
import type { BlockOrder, ScaleRequest, ScaleResponse } from "./scale-request.ts";

/** What applying a request came to. */
export interface Applied {
  /** What the confirmation says. */
  readonly response: ScaleResponse;
  /** Nothing was sent: there are as many replicas as before. Absent when something may have been. */
  readonly isUntouched?: boolean;
  /** Ids of the places that go with the confirmation. */
  readonly gone?: readonly string[];
  /** Done once the confirmation is written, and not when the request was superseded. Must not reject. */
  readonly afterwards?: () => Promise<void>;
}

/** How a request is applied. */
export interface ApplyContext {
  /** Aborted when the program stops. */
  readonly signal: AbortSignal;
  /** It is not tried again: what may pass has failed, too. */
  readonly isLast: boolean;
  /** It may have been sent before, and nobody knows what came of it. */
  readonly isRepeated: boolean;
  /** Keeps what is about to be sent; undefined when the request is not to be sent any more. */
  readonly keep: (order: BlockOrder) => Promise<ScaleRequest | undefined>;
}

/**
 * Applies requests: brings replicas to a number. It may be called again for a request, after a restart, and comes to the same
 * end. Gives what is to be confirmed, undefined when somebody else confirms it or it is not to be sent any more. Rejects with what may pass, so
 * that it is tried again: UNAVAILABLE, DEADLINE_EXCEEDED, OVERLOADED.
 */
export interface Applier {
  apply(request: ScaleRequest, context: ApplyContext): Promise<Applied | undefined>;
}

const PASSING: readonly Reason[] = [
  "UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "OVERLOADED",
  "INTERNAL",
  "CANCELED",
];

/** Whether a failure may pass, so that a request is applied once more. */
export function isPassing(reason: Reason): boolean {
  return PASSING.includes(reason);
}

/** The end of a request that came to nothing. `replicas` is what there is, when that is known. */
export function failedResponse(message: string, replicas?: number): ScaleResponse {
  return { status: "failed", ...(replicas === undefined ? {} : { replicas }), message };
}

/** The end of a request of which all, or some, is there. */
export function allocatedResponse(replicas: number, message?: string): ScaleResponse {
  return { status: "allocated", replicas, ...(message === undefined ? {} : { message }) };
}

/** Of a quota whose replicas are a number alone: there is nothing to apply. */
export const plainApplier: Applier = {
  apply: async ({ replicas }) => ({ response: allocatedResponse(replicas) }),
};
