import type http2 from "node:http2";
import {
  type ContextValues,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";

const ADDRESS = createContextKey("", { description: "address of the other end" });

/** Context values of a call that say where it came from, for the adapter of a port. */
export function callerAddress(request: {
  readonly socket?: { readonly remoteAddress?: string | undefined } | undefined;
  readonly stream?: http2.Http2Stream | undefined;
}): ContextValues {
  const address = request.stream?.session?.socket.remoteAddress ?? request.socket?.remoteAddress;
  return createContextValues().set(ADDRESS, address ?? "");
}

/** Address that a call came from; undefined where it is not known. */
export function addressOf({ values }: HandlerContext): string | undefined {
  const address = values.get(ADDRESS);
  return address === "" ? undefined : address;
}

/** The `authorization` header of a call. */
export function authorizationOf({ requestHeader }: HandlerContext): string | undefined {
  return requestHeader.get("authorization") ?? undefined;
}
