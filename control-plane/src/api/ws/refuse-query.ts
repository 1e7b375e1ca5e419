import { BerthError, toErrorBody } from "@berth/service-kit";
import { type FrameTaker, sendFrame } from "./send-frame.ts";

/** Code with which a socket is closed whose URL does not hold (RFC 6455 §7.4.1: policy violation). */
const CLOSE_BAD_QUERY = 1008;

/** Sends an error frame for a URL that does not hold, and closes the socket behind it. */
export function refuseQuery(taker: FrameTaker, thrown: unknown): void {
  const body = toErrorBody(thrown);
  void sendFrame(taker, Buffer.from(JSON.stringify(body))).then(() =>
    taker.socket.close(CLOSE_BAD_QUERY, body.message.slice(0, 100)),
  );
}

/** A member of a URL's query that is "true" or "false", which it is when it is missing or empty; INVALID_ARGUMENT names it. */
export function readFlag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name) ?? "";
  if (value === "true" || value === "false" || value === "") return value === "true";
  throw new BerthError("INVALID_ARGUMENT", `${name}: expected true or false`);
}
