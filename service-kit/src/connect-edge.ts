import type { HandlerContext, Interceptor } from "@connectrpc/connect";
import { BerthError, isBerthError, toBerthError, toConnectError } from "./errors.ts";
import type { Logger } from "./log.ts";
import type { Authenticate } from "./principal.ts";

/** What of a service's generated description (`DescService`) tells how its calls are made. */
interface RpcService {
  /** "berth.agent.v1.AgentService". */
  readonly typeName: string;
  readonly methods: readonly { readonly name: string; readonly methodKind: string }[];
}

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
  /** Whether the header carries an enrolment token that can still bind somebody. */
  hasUsableToken(authorization: string | undefined): boolean;
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

/** Whether an `authorization` header carries an agent's own key or an enrolment token that can still be used. */
export function knownCaller(guard: EnrolmentGuard): (authorization: string | undefined) => boolean {
  const isAgent = (authorization: string | undefined): boolean => {
    try {
      guard.authenticate({ authorization });
      return true;
    } catch (thrown) {
      if (isBerthError(thrown)) return false;
      throw thrown;
    }
  };
  return (authorization) => isAgent(authorization) || guard.hasUsableToken(authorization);
}

/**
 * Paths of the calls whose input is one message (unary and server-streaming ones), for `unaryPaths` of
 * `createHttp2Server`: "/berth.agent.v1.AgentService/Register".
 */
export function unaryPathsOf(...services: readonly RpcService[]): ReadonlySet<string> {
  const calls = services.flatMap((service) => {
    const oneMessage = service.methods.filter(
      ({ methodKind }) => methodKind === "unary" || methodKind === "server_streaming",
    );
    return oneMessage.map(({ name }) => `/${service.typeName}/${name}`);
  });
  return new Set(calls);
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
