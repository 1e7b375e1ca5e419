import { BerthError, toErrorBody } from "@berth/service-kit";
import { type FrameTaker, sendFrame } from "./send-frame.ts";

/** Code with which a socket is closed whose URL does not hold (RFC 6455 §7.4.1: policy violation). */
const CLOSE_BAD_QUERY = 1008;
/** Bytes of a close frame's reason at most (RFC 6455 §5.5: 125 with the code). */
const MAX_REASON_BYTES = 123;

/** Sends an error frame for a URL that does not hold, and closes the socket behind it. */
export function refuseQuery(taker: FrameTaker, thrown: unknown): void {
  const body = toErrorBody(thrown);
  void sendFrame(taker, Buffer.from(JSON.stringify(body))).then(() =>
    taker.socket.close(CLOSE_BAD_QUERY, closeReason(body.message)),
  );
}

/** As much of a text as a close frame takes, in whole characters. */
function closeReason(text: string): string {
  const bytes = Buffer.from(text).subarray(0, MAX_REASON_BYTES);
  return new TextDecoder().decode(bytes, { stream: true });
}

/** A member of a URL's query that is "true" or "false", which it is when it is missing or empty; INVALID_ARGUMENT names it. */
export function readFlag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name) ?? "";
  if (value === "true" || value === "false" || value === "") return value === "true";
  throw new BerthError("INVALID_ARGUMENT", `${name}: expected true or false`);
}
