import { type Logger, type Principal, toBerthError, toErrorBody } from "@berth/service-kit";
import type { WebSocket } from "ws";
import { type AllocationFrame, readFrame } from "../../allocation/allocation-request.ts";
import type { Allocator } from "../../allocation/allocator.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { Inbox } from "./inbox.ts";

/** A reply that a client has not taken by then ends its socket, in ms. */
const MAX_DEPARTURE_MS = 60_000;

/** What serving a socket takes. */
export interface AllocatorSocketDeps {
  readonly allocator: Allocator;
  readonly logger: Logger;
}

/** A socket of a caller, and the bytes that large messages of all sockets share. */
export interface AllocatorSocket {
  readonly socket: WebSocket;
  readonly principal: Principal;
  readonly budget: ByteBudget;
}

/**
 * Serves allocation requests on one WebSocket until it closes. Every frame gets one reply; a bad one
 * gets an error frame and the socket stays open. Requests run side by side, 64 and 32 MiB at a time.
 * Replies to requests with a `request_id` are sent as they finish and echo it; those without one keep
 * the order of their requests, which is all that their clients can correlate by. A request counts as
 * under way until its reply has left, and a client that takes none for a minute is cut off.
 */
export function serveAllocatorSocket(
  { socket, principal, budget }: AllocatorSocket,
  deps: AllocatorSocketDeps,
): void {
  const closed = new AbortController();
  let lastInOrder: Promise<void> = Promise.resolve();

  const answer = async (message: Buffer): Promise<void> => {
    const frame = readFrame(message.toString("utf8"));
    const { requestId } = frame;
    const reply = replyTo(frame, { principal, deps, signal: closed.signal });
    if (requestId !== undefined) {
      await send(socket, { ...(await reply), request_id: requestId });
      return;
    }
    const previous = lastInOrder;
    lastInOrder = Promise.all([reply, previous]).then(([body]) => send(socket, body));
    await lastInOrder;
  };

  new Inbox(socket, budget, answer);
  socket.on("close", () => closed.abort());
  socket.on("error", (err) => deps.logger.debug("websocket error", { err }));
}

async function replyTo(
  frame: AllocationFrame,
  context: { principal: Principal; deps: AllocatorSocketDeps; signal: AbortSignal },
): Promise<object> {
  const { principal, deps, signal } = context;
  try {
    return await deps.allocator.allocate(principal, frame, signal);
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
    if (socket.readyState !== socket.OPEN) {
      resolve();
      return;
    }
    const late = setTimeout(() => socket.terminate(), MAX_DEPARTURE_MS);
    socket.send(JSON.stringify(body), () => {
      clearTimeout(late);
      resolve();
    });
  });
}
