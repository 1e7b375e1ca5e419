import type { HandlerContext, Interceptor } from "@connectrpc/connect";
import { BerthError, toBerthError, toConnectError } from "./errors.ts";
import type { Logger } from "./log.ts";
import type { Authenticate } from "./principal.ts";

/**
 * Refuses calls that do not authenticate before anything is read of them, as `requestGate` of a Connect
 * server; the error carries the table's code.
 */
export function authenticationGate(authenticate: Authenticate): (context: HandlerContext) => void {
  return ({ requestHeader }) => {
    try {
      authenticate({ authorization: requestHeader.get("authorization") ?? undefined });
    } catch (thrown) {
      throw toConnectError(thrown);
    }
  };
}

/** Who is let in on a port that agents dial. */
export interface EnrolmentGuard {
  /** Lets in agents by their own keys. */
  readonly authenticate: Authenticate;
  /** Throws UNAUTHENTICATED when the header carries no enrolment token that is known. */
  checkToken(authorization: string | undefined): void;
}

/**
 * {@link authenticationGate} of a port that agents dial: calls of the enrolment service, named by its
 * `typeName`, need a known enrolment token instead of a key. Nothing is read of anybody else.
 */
export function enrolmentGate(
  guard: EnrolmentGuard,
  enrolmentService: string,
): (context: HandlerContext) => void {
  const keyGate = authenticationGate(guard.authenticate);
  return (context) => {
    if (context.service.typeName !== enrolmentService) {
      keyGate(context);
      return;
    }
    try {
      guard.checkToken(context.requestHeader.get("authorization") ?? undefined);
    } catch (thrown) {
      throw toConnectError(thrown);
    }
  };
}

/**
 * Maps what handlers throw to the error table's codes; failures of our own are logged. A caller that
 * leaves in the middle of its stream is none: CANCELED.
 */
export function errorMapping(logger: Logger): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (thrown) {
      if ((thrown as { code?: unknown } | null)?.code === "ERR_STREAM_PREMATURE_CLOSE") {
        throw toConnectError(new BerthError("CANCELED", "the caller left", { cause: thrown }));
      }
      if (toBerthError(thrown).reason === "INTERNAL" && !request.signal.aborted) {
        logger.error("a call failed", { method: request.method.name, err: thrown });
      }
      throw toConnectError(thrown);
    }
  };
}
