import type { HandlerContext, Interceptor } from "@connectrpc/connect";
import { BerthError, toBerthError, toConnectError } from "./errors.ts";
import { bearerSecret } from "./identity/enrolment-token.ts";
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

/**
 * {@link authenticationGate} of a port that agents dial: calls of the enrolment service, named by its
 * `typeName`, only need the form of an enrolment token, which the service itself checks.
 */
export function enrolmentGate(
  authenticate: Authenticate,
  enrolmentService: string,
): (context: HandlerContext) => void {
  const keyGate = authenticationGate(authenticate);
  return (context) => {
    if (context.service.typeName !== enrolmentService) {
      keyGate(context);
      return;
    }
    if (bearerSecret(context.requestHeader.get("authorization") ?? undefined) !== undefined) return;
    const message = "authorization: expected Bearer and an enrolment token of `berth token create`";
    throw toConnectError(new BerthError("UNAUTHENTICATED", message));
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
