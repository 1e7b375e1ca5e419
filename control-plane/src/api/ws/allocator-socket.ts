import {
  type BerthError,
  type HttpTraffic,
  type Logger,
  MAX_DEPARTURE_MS,
  type Principal,
  toBerthError,
  toErrorBody,
  type UnsentReplies,
} from "@berth/service-kit";
import type { WebSocket } from "ws";
import { type AllocationFrame, readFrame } from "../../allocation/allocation-request.ts";
import type { Allocator } from "../../allocation/allocator.ts";
import { Inbox } from "./inbox.ts";

/** What serving a socket takes. */
export interface AllocatorSocketDeps {
  readonly allocator: Allocator;
  readonly logger: Logger;
}

/** A socket of a caller, and what all callers share. */
export interface AllocatorSocket {
  readonly socket: WebSocket;
  readonly principal: Principal;
  readonly traffic: HttpTraffic;
}

/**
 * Serves allocation requests on one WebSocket until it closes. Every frame gets one reply; a bad one
 * gets an error frame and the socket stays open. Requests run side by side, 64 and 16 MiB at a time.
 * Replies to requests with a `request_id` are sent as they finish and echo it; those without one keep
 * the order of their requests, which is all that their clients can correlate by. A request counts as
 * under way until its reply has left, and a client that takes none for a minute is cut off, or earlier when it
 * leaves most unread and all clients together leave too much.
 */
export function serveAllocatorSocket(
  { socket, principal, traffic }: AllocatorSocket,
  deps: AllocatorSocketDeps,
): void {
  const closed = new AbortController();
  let lastInOrder: Promise<void> = Promise.resolve();

  const send = (body: object) => sendReply(socket, body, traffic.replies);
  const answer = async (frame: AllocationFrame, refusal: BerthError | undefined): Promise<void> => {
    const { requestId } = frame;
    const reply =
      refusal === undefined
        ? replyTo(frame, { principal, deps, signal: closed.signal })
        : Promise.resolve(toErrorBody(refusal));
    if (requestId !== undefined) {
      await send({ ...(await reply), request_id: requestId });
      return;
    }
    const previous = lastInOrder;
    lastInOrder = Promise.all([reply, previous]).then(([body]) => send(body));
    await lastInOrder;
  };

  // The message itself is not kept for as long as its policy takes.
  new Inbox(socket, traffic.requests, (message, refusal) =>
    answer(readFrame(message.toString("utf8")), refusal),
  );
  socket.on("close", () => {
    closed.abort();
    traffic.replies.forget(socket);
  });
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
function sendReply(socket: WebSocket, body: object, replies: UnsentReplies): Promise<void> {
  return new Promise((resolve) => {
    if (socket.readyState !== socket.OPEN) {
      resolve();
      return;
    }
    const frame = Buffer.from(JSON.stringify(body));
    const late = setTimeout(() => socket.terminate(), MAX_DEPARTURE_MS);
    replies.sending(socket, frame.length, () => socket.terminate());
    socket.send(frame, { binary: false }, () => {
      clearTimeout(late);
      replies.left(socket, frame.length);
      resolve();
    });
  });
}
