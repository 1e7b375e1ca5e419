import http2 from "node:http2";

/** Cancels a request unless its body has ended within `limitMs`, however much of it the handler has read. */
export function limitBodyTime({ stream }: http2.Http2ServerRequest, limitMs: number): void {
  if (stream.endAfterHeaders) return;
  const cut = (): void => {
    if (stream.destroyed || hasEnded(stream)) return;
    stream.close(http2.constants.NGHTTP2_CANCEL);
  };
  // When this process was busy the end may wait to be read: timers come before sockets.
  const timer = setTimeout(() => setImmediate(cut), limitMs);
  timer.unref();
  const stop = (): void => clearTimeout(timer);
  stream.once("end", stop);
  stream.once("close", stop);
}

/** Whether the caller has ended its side; a handler that needs no more of the body does not read its end. */
function hasEnded(stream: http2.ServerHttp2Stream): boolean {
  return stream.readableEnded || stream.state.remoteClose === 1;
}
