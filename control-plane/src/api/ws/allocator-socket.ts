import { type Logger, type Principal, toBerthError, toErrorBody } from "@berth/service-kit";
import type { RawData, WebSocket } from "ws";
import { requestIdOf } from "../../allocation/allocation-request.ts";
import type { Allocator } from "../../allocation/allocator.ts";

/** Requests of one socket that may be under way; further frames wait in the kernel's buffers. */
const MAX_IN_FLIGHT = 64;

/** What serving a socket takes. */
export interface AllocatorSocketDeps {
  readonly allocator: Allocator;
  readonly logger: Logger;
}

/**
 * Serves allocation requests on one WebSocket until it closes. Every frame gets one reply; a bad one
 * gets an error frame and the socket stays open. Requests run side by side. Replies to requests with a
 * `request_id` are sent as they finish and echo it; those without one keep the order of their
 * requests, which is all that their clients can correlate by. A request counts as under way until its
 * reply has left, so a client that does not read cannot make the server hold more than 64 replies.
 */
export function serveAllocatorSocket(
  socket: WebSocket,
  principal: Principal,
  deps: AllocatorSocketDeps,
): void {
  const closed = new AbortController();
  let inFlight = 0;
  let lastInOrder: Promise<void> = Promise.resolve();

  const answer = async (text: string): Promise<void> => {
    const requestId = requestIdOf(text);
    const reply = replyTo(text, { principal, deps, signal: closed.signal });
    if (requestId !== undefined) {
      await send(socket, { ...(await reply), request_id: requestId });
      return;
    }
    const previous = lastInOrder;
    lastInOrder = Promise.all([reply, previous]).then(([body]) => send(socket, body));
    await lastInOrder;
  };

  socket.on("message", (data: RawData) => {
    inFlight += 1;
    if (inFlight >= MAX_IN_FLIGHT) socket.pause();
    void answer(textOf(data)).finally(() => {
      inFlight -= 1;
      if (inFlight < MAX_IN_FLIGHT && socket.isPaused) socket.resume();
    });
  });
  socket.on("close", () => closed.abort());
  socket.on("error", (err) => deps.logger.debug("websocket error", { err }));
}

async function replyTo(
  text: string,
  context: { principal: Principal; deps: AllocatorSocketDeps; signal: AbortSignal },
): Promise<object> {
  const { principal, deps, signal } = context;
  try {
    return await deps.allocator.allocate(principal, text, signal);
  } catch (thrown) {
    if (toBerthError(thrown).reason === "INTERNAL") {
      deps.logger.error("allocation failed", { err: thrown });
    }
    return toErrorBody(thrown);
  }
}

/** Resolves when the frame has left or the socket is gone; never rejects. */
function send(socket: WebSocket, body: object): Promise<void> {
  return new Promise((resolve) => {
    if (socket.readyState !== socket.OPEN) resolve();
    else socket.send(JSON.stringify(body), () => resolve());
  });
}

function textOf(data: RawData): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString("utf8");
  return Buffer.from(data as ArrayBuffer).toString("utf8");
}
