import type http2 from "node:http2";
import { type Authenticate, BerthError } from "@berth/service-kit";
import {
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";
import type { NodeSpeaker } from "../nodes/node-speaker.ts";

const ADDRESS = createContextKey("", { description: "address of the other end" });

/** Context values of a call that say where it came from. */
export function callerAddress(request: {
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
  readonly stream?: http2.Http2Stream | undefined;
}): ContextValues {
  const address = request.stream?.session?.socket.remoteAddress ?? request.socket?.remoteAddress;
  return createContextValues().set(ADDRESS, address ?? "");
}

/** The `authorization` header of a call. */
export function authorizationOf({ requestHeader }: HandlerContext): string | undefined {
  return requestHeader.get("authorization") ?? undefined;
}

/**
 * The node that a call speaks for, by its key as it holds now. Throws UNAUTHENTICATED when the key is not
 * enrolled, or not any more.
 */
export function nodeSpeaker(authenticate: Authenticate, context: HandlerContext): NodeSpeaker {
  const { agent } = authenticate({ authorization: authorizationOf(context) });
  if (agent === undefined) {
    throw new BerthError("PERMISSION_DENIED", "authorization: expected the key of a node");
  }
  const address = context.values.get(ADDRESS);
  return address === "" ? agent : { ...agent, address };
}
