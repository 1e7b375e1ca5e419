import { BerthError, isBerthError, type Reason } from "@berth/service-kit";
import type { ApplyOutcome } from "../runtime.ts";

/** The API server answered, and not with what was asked for. */
export class KubeError extends Error {
  override readonly name = "KubeError";
  /** HTTP status, or the code of an error event of a watch. */
  readonly status: number;
  /** Machine-readable: "AlreadyExists", "Forbidden"; empty when the server gave none. */
  readonly reason: string;

  constructor(about: {
    readonly status: number;
    readonly reason: string;
    readonly message: string;
  }) {
    super(about.message);
    this.status = about.status;
    this.reason = about.reason;
  }
}

/** An object, or its namespace, is not there. */
export function isAbsent(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === 404;
}

/** There is an object of this name already. */
export function isTaken(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === 409 && thrown.reason === "AlreadyExists";
}

/** The object is another one than was meant, or was changed in between. */
export function isConflict(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === 409;
}

/** The history that was asked for is compacted: list again. */
export function isGone(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === 410;
}

/** The error of a Status object, as a response's body or in an ERROR event. */
export function kubeErrorOf(body: unknown, httpStatus: number): KubeError {
  const { code, reason, message } = (body ?? {}) as Record<string, unknown>;
  return new KubeError({
    status: typeof code === "number" ? code : httpStatus,
    reason: typeof reason === "string" ? reason : "",
    message: typeof message === "string" && message !== "" ? message : `HTTP ${httpStatus}`,
  });
}

const FORBIDDEN = 403;

const REFUSALS: ReadonlyMap<number, Reason> = new Map([
  [400, "INVALID_ARGUMENT"],
  [403, "PRECONDITION_FAILED"],
  [404, "PRECONDITION_FAILED"],
  [405, "PRECONDITION_FAILED"],
  [413, "INVALID_ARGUMENT"],
  [422, "INVALID_ARGUMENT"],
]);

/**
 * The refusal in an answer that says that the API server will not have an object; undefined for answers after which the
 * same may be tried again. What a missing right is called by RBAC is in the message.
 */
export function refusalOf(thrown: unknown): ApplyOutcome | undefined {
  if (!(thrown instanceof KubeError)) return undefined;
  const reason = REFUSALS.get(thrown.status);
  if (reason === undefined) return undefined;
  const isQuota = thrown.status === 403 && thrown.message.includes("exceeded quota");
  return { kind: "refused", reason: isQuota ? "QUOTA_EXCEEDED" : reason, message: told(thrown) };
}

/** A right is missing, or is not known yet: an API server that has just started does not know them all. */
export function isForbidden(thrown: unknown): boolean {
  return thrown instanceof KubeError && thrown.status === FORBIDDEN;
}

/**
 * What is thrown to callers of the runtime: an answer that is no refusal means that the API server is not well. A right that is
 * missing may be given, so that it may be tried again.
 */
export function toRuntimeError(thrown: unknown): BerthError {
  if (isBerthError(thrown)) return thrown;
  if (!(thrown instanceof KubeError)) {
    return new BerthError("INTERNAL", "the Kubernetes runtime failed", { cause: thrown });
  }
  const refusal = isForbidden(thrown) ? undefined : REFUSALS.get(thrown.status);
  const reason = refusal ?? "UNAVAILABLE";
  return new BerthError(reason, told(thrown), { cause: thrown });
}

function told({ status, message }: KubeError): string {
  const hint =
    status === 401 || (status === 403 && message.includes(" cannot "))
      ? "; the rights that the agent needs are in deploy/kubernetes"
      : "";
  return `the Kubernetes API refuses with ${status}: ${message.slice(0, 1_000)}${hint}`;
}
