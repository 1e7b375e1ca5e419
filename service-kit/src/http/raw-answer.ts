import http from "node:http";
import type { Duplex } from "node:stream";
import { BerthError, toErrorBody } from "../errors.ts";

/** What {@link answerRaw} sends beside the error body. */
export interface RawAnswer {
  /** That of the error's reason by default. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Answers on a connection that has no request to answer, and ends it: what came was none, or asked for a protocol
 * that is not spoken.
 */
export function answerRaw(
  socket: Duplex,
  error: BerthError,
  { status = error.httpStatus, headers = {} }: RawAnswer = {},
): void {
  const body = JSON.stringify(toErrorBody(error));
  const allHeaders = {
    connection: "close",
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...headers,
  };
  const lines = Object.entries(allHeaders).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.on("error", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\n${lines.join("")}\r\n${body}`,
    () => socket.destroy(),
  );
}

/** Answers what Node's parser could not read as a request: 400, 408 or 431, with the error body. */
export function answerMalformed(failure: Error & { readonly code?: string }, socket: Duplex): void {
  if (socket.destroyed) return;
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status, message } = malformed(failure);
  answerRaw(socket, new BerthError("INVALID_ARGUMENT", message), { status });
}

function malformed({ code, message }: Error & { readonly code?: string }): {
  status: number;
  message: string;
} {
  switch (code) {
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return { status: 408, message: "the request did not arrive in time" };
    case "HPE_HEADER_OVERFLOW":
      return { status: 431, message: `the headers are larger than ${http.maxHeaderSize} bytes` };
    case "HPE_CHUNK_EXTENSIONS_OVERFLOW":
      return { status: 413, message: "the extensions of a chunk are too large" };
    default:
      return { status: 400, message: `this is no HTTP request: ${message}` };
  }
}
