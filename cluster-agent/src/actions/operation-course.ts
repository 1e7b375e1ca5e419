import { BerthError, type Reason, toBerthError } from "@berth/service-kit";
import type { OperationError, OperationRecord } from "./operation.ts";

/** What is next for an operation. */
export interface Course {
  readonly record: OperationRecord;
  /** The next attempt is to wait: what went wrong may be otherwise later. */
  readonly waits: boolean;
}

/** What is not tried again, whatever its reason: who threw it has waited already. */
export class FinalError extends BerthError {}

/** What may be otherwise a moment later. */
const PASSING: readonly Reason[] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "OVERLOADED", "INTERNAL"];

/**
 * What becomes of an operation when an attempt has failed: what may pass is tried again unless it was the `isLast`
 * attempt in a row; else it is undone, and what cannot be undone is stuck. Why it is being undone stays with it: that
 * is what its client wants to know. Pure.
 */
export function afterFailure(
  record: OperationRecord,
  { error, isLast }: { readonly error: OperationError; readonly isLast: boolean },
): Course {
  const waits = PASSING.includes(error.reason) && !isLast;
  if (record.state !== "undoing") {
    return { record: { ...record, error, state: waits ? "running" : "undoing" }, waits };
  }
  const step = `undoing: ${error.message}`.slice(0, 1_000);
  const why = record.error ?? error;
  return { record: { ...record, error: why, step, state: waits ? "undoing" : "stuck" }, waits };
}

/** What was thrown as operations keep it. */
export function errorOf(thrown: unknown): OperationError {
  const { reason, message, details } = toBerthError(thrown);
  return { reason, message, ...(Object.keys(details).length === 0 ? {} : { details }) };
}
