import type http from "node:http";
import type http2 from "node:http2";
import { callerAddress } from "@berth/service-kit";
import { type ContextValues, createContextKey, type HandlerContext } from "@connectrpc/connect";

const RECEIVED = createContextKey<() => number>(() => 0, {
  description: "bytes that have come of the call's messages",
});

/** Context values of a call that say where it came from and how much of it has come, for the adapter of the agents' port. */
export function agentCaller(
  request: http.IncomingMessage | http2.Http2ServerRequest,
): ContextValues {
  let receivedBytes = 0;
  const count = (bytes: Buffer) => {
    receivedBytes += bytes.byteLength;
  };
  // With `on` the body would flow before anybody reads it.
  request.prependListener("data", count);
  return callerAddress(request).set(RECEIVED, () => receivedBytes);
}

/** Tells how many bytes of a call's messages have come, also of a message that is not whole yet. */
export function receivedBytesOf({ values }: HandlerContext): () => number {
  return values.get(RECEIVED);
}
