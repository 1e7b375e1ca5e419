import { Code, ConnectError } from "@connectrpc/connect";

/**
 * The one error table: reason -> Connect code and HTTP status. REST, WebSocket and Connect all answer
 * from it, so the same mistake reads the same on every transport. The HTTP column follows Connect's
 * own mapping (https://connectrpc.com/docs/protocol/#http-to-error-code) where it has one.
 */
export const ERROR_TABLE = {
  INVALID_ARGUMENT: { code: Code.InvalidArgument, http: 400 },
  POLICY_FAILED: { code: Code.FailedPrecondition, http: 400 },
  PRECONDITION_FAILED: { code: Code.FailedPrecondition, http: 400 },
  UNAUTHENTICATED: { code: Code.Unauthenticated, http: 401 },
  PERMISSION_DENIED: { code: Code.PermissionDenied, http: 403 },
  PRECHECK_DENIED: { code: Code.PermissionDenied, http: 403 },
  NOT_FOUND: { code: Code.NotFound, http: 404 },
  ALREADY_EXISTS: { code: Code.AlreadyExists, http: 409 },
  CONFLICT: { code: Code.Aborted, http: 409 },
  STALE_REVISION: { code: Code.Aborted, http: 412 },
  UNSCHEDULABLE: { code: Code.FailedPrecondition, http: 409 },
  PAYLOAD_TOO_LARGE: { code: Code.ResourceExhausted, http: 413 },
  UNSUPPORTED_MEDIA_TYPE: { code: Code.InvalidArgument, http: 415 },
  QUOTA_EXCEEDED: { code: Code.ResourceExhausted, http: 429 },
  OVERLOADED: { code: Code.ResourceExhausted, http: 429 },
  CANCELED: { code: Code.Canceled, http: 499 },
  INTERNAL: { code: Code.Internal, http: 500 },
  UNIMPLEMENTED: { code: Code.Unimplemented, http: 501 },
  UNAVAILABLE: { code: Code.Unavailable, http: 503 },
  DEADLINE_EXCEEDED: { code: Code.DeadlineExceeded, http: 504 },
  POLICY_TIMEOUT: { code: Code.DeadlineExceeded, http: 504 },
} as const;

/** Why a request failed: a key of {@link ERROR_TABLE}. */
export type Reason = keyof typeof ERROR_TABLE;

/**
 * The one exception of Berth. `message` is a lower-case sentence that names the field or the id and
 * says what was expected; `details` is extra JSON for the client. Only INTERNAL hides its message.
 */
export class BerthError extends Error {
  override readonly name = "BerthError";
  readonly reason: Reason;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    reason: Reason,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    this.details = options.details ?? {};
  }

  /** HTTP status of the reason. */
  get httpStatus(): number {
    return ERROR_TABLE[this.reason].http;
  }
}

/** Whether a value is a {@link BerthError}, also one of another copy of this package. */
export function isBerthError(value: unknown): value is BerthError {
  return (
    value instanceof Error &&
    value.name === "BerthError" &&
    "reason" in value &&
    isReason(value.reason)
  );
}

/** The body that every failed request answers with, on REST and WebSocket alike. */
export interface ErrorBody {
  readonly success: false;
  /** The message; existing clients read either `error` or `message`. */
  readonly error: string;
  readonly message: string;
  readonly reason: Reason;
  readonly [detail: string]: unknown;
}

/**
 * Turns anything thrown into a {@link BerthError}. A Connect error keeps its reason when its other end
 * sent one in `berth-reason`, else gets the plain reason of its code; unknown ones become INTERNAL and
 * keep the cause.
 */
export function toBerthError(thrown: unknown): BerthError {
  if (isBerthError(thrown)) return thrown;
  if (thrown instanceof ConnectError) {
    const sent = thrown.metadata.get(REASON_HEADER);
    const known = isReason(sent) && ERROR_TABLE[sent].code === thrown.code;
    const reason = known ? sent : (REASON_OF_CODE.get(thrown.code) ?? "INTERNAL");
    return new BerthError(reason, thrown.rawMessage, { cause: thrown });
  }
  return new BerthError("INTERNAL", INTERNAL_MESSAGE, { cause: thrown });
}

/**
 * The error body of anything thrown. Details come first, so they never hide the standard keys. An
 * INTERNAL error shows neither its message nor its details: they are for the log.
 */
export function toErrorBody(thrown: unknown): ErrorBody {
  const { message, reason, details } = withoutSecrets(toBerthError(thrown));
  return { ...details, success: false, error: message, message, reason };
}

/**
 * The Connect error of anything thrown; the reason travels in the metadata key `berth-reason`, and an
 * INTERNAL error hides its message as in {@link toErrorBody}.
 */
export function toConnectError(thrown: unknown): ConnectError {
  const { message, reason } = withoutSecrets(toBerthError(thrown));
  const metadata = new Headers({ [REASON_HEADER]: reason });
  return new ConnectError(message, ERROR_TABLE[reason].code, metadata, [], thrown);
}

const REASON_HEADER = "berth-reason";
const INTERNAL_MESSAGE = "internal error";

/** What a Connect code means when the other end sent no reason of ours. */
const REASON_OF_CODE: ReadonlyMap<Code, Reason> = new Map([
  [Code.InvalidArgument, "INVALID_ARGUMENT"],
  [Code.OutOfRange, "INVALID_ARGUMENT"],
  [Code.FailedPrecondition, "PRECONDITION_FAILED"],
  [Code.Unauthenticated, "UNAUTHENTICATED"],
  [Code.PermissionDenied, "PERMISSION_DENIED"],
  [Code.NotFound, "NOT_FOUND"],
  [Code.AlreadyExists, "ALREADY_EXISTS"],
  [Code.Aborted, "CONFLICT"],
  [Code.ResourceExhausted, "OVERLOADED"],
  [Code.Canceled, "CANCELED"],
  [Code.Unimplemented, "UNIMPLEMENTED"],
  [Code.Unavailable, "UNAVAILABLE"],
  [Code.DeadlineExceeded, "DEADLINE_EXCEEDED"],
]);

function isReason(value: unknown): value is Reason {
  return typeof value === "string" && Object.hasOwn(ERROR_TABLE, value);
}

function withoutSecrets(error: BerthError): BerthError {
  return error.reason === "INTERNAL" ? new BerthError("INTERNAL", INTERNAL_MESSAGE) : error;
}
