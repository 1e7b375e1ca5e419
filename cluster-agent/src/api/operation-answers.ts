import { BerthError, operationWarnings, toNumber, typeName } from "@berth/service-kit";
import { isOver, type OperationRecord } from "../actions/operation.ts";
import { operationDocument } from "../actions/operation-document.ts";
import type { OperationRunner } from "../actions/operation-runner.ts";

/** Of a reply what is needed here. */
export interface Reply {
  status(code: number): unknown;
  readonly raw: { once(event: "close", listener: () => void): unknown };
}

/** How a request wants to be answered. */
export interface Manners {
  /** How long the answer waits for the operation, ms; 0 = not at all. */
  readonly waitMs: number;
  readonly idempotencyKey: string | undefined;
}

/** Longest time that an answer waits for its operation, ms. */
export const MAX_WAIT_MS = 300_000;
const DEFAULT_WAIT_MS = 60_000;

/** Reads `wait`, the time that the answer waits, and `idempotency_key`. INVALID_ARGUMENT names the field. */
export function readManners({
  wait = true,
  timeoutMs,
  idempotencyKey: key,
}: {
  readonly wait?: unknown;
  readonly timeoutMs?: unknown;
  readonly idempotencyKey?: unknown;
}): Manners {
  if (typeof wait !== "boolean") {
    throw invalid(`wait: expected true or false, got ${typeName(wait)}`);
  }
  const limitMs = timeoutMs === undefined ? DEFAULT_WAIT_MS : toNumber(timeoutMs);
  if (limitMs === undefined || !(limitMs >= 0 && limitMs <= MAX_WAIT_MS)) {
    throw invalid(`timeout_ms: expected a number of 0-${MAX_WAIT_MS}`);
  }
  if (key !== undefined && (typeof key !== "string" || key === "" || key.length > 128)) {
    throw invalid("idempotency_key: expected a text of 1-128 characters");
  }
  return { waitMs: wait ? limitMs : 0, idempotencyKey: key };
}

/** Aborted when the client has gone. */
export function goneSignal(reply: Pick<Reply, "raw">): AbortSignal {
  const gone = new AbortController();
  reply.raw.once("close", () => gone.abort());
  return gone.signal;
}

/** What an operation is answered with. */
export interface OperationAnswerOptions {
  readonly operations: Pick<OperationRunner, "settled">;
  readonly reply: Reply;
  readonly gone: AbortSignal;
  /** Denials of pre-checks that only warn. */
  readonly warnings: readonly string[];
  /** `data` of the answer when it is done; its result by default. */
  readonly data?: (operation: OperationRecord) => unknown;
}

/**
 * The answer to a request that was accepted as an operation: its result when it is done in time, 202 with its id while it
 * goes on. Throws what it failed with.
 */
export async function answerOperation(
  accepted: OperationRecord,
  { waitMs }: Pick<Manners, "waitMs">,
  options: OperationAnswerOptions,
): Promise<object> {
  if (waitMs === 0) return answerAccepted(accepted, options);
  const limit = AbortSignal.any([AbortSignal.timeout(waitMs), options.gone]);
  const operation = await options.operations.settled(accepted.id, limit);
  const { state, result, error, id } = operation;
  if (state === "done") {
    const data = options.data === undefined ? result : options.data(operation);
    const own = operationWarnings(operation.action, result);
    const warnings = [...options.warnings, ...own];
    return { success: true, data, operation: operationDocument(operation), ...told({ warnings }) };
  }
  if (!isOver(operation) && state !== "stuck") return answerAccepted(operation, options);
  const {
    reason = "INTERNAL",
    message = `operation ${id} is ${state}`,
    details = {},
  } = error ?? {};
  const more = { ...details, operation_id: id, operation_state: state };
  throw new BerthError(reason, message, { details: more });
}

function answerAccepted(operation: OperationRecord, options: OperationAnswerOptions): object {
  options.reply.status(202);
  const { id, state } = operation;
  const data = { operation_id: id, state };
  return { success: true, data, operation: operationDocument(operation), ...told(options) };
}

function told({ warnings }: Pick<OperationAnswerOptions, "warnings">): object {
  return warnings.length === 0 ? {} : { warnings };
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
