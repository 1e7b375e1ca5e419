import type { HandlerContext, Interceptor } from "@connectrpc/connect";
import { toBerthError, toConnectError } from "./errors.ts";
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

/** Maps what handlers throw to the error table's codes; failures of our own are logged. */
export function errorMapping(logger: Logger): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (thrown) {
      if (toBerthError(thrown).reason === "INTERNAL" && !request.signal.aborted) {
        logger.error("a call failed", { method: request.method.name, err: thrown });
      }
      throw toConnectError(thrown);
    }
  };
}
