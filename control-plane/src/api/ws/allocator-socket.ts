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
import { ReplyOrder, type Turn } from "./reply-order.ts";

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

/** The place of a reply, and why the request was refused before it was read. */
interface Answering {
  readonly turn: Turn;
  readonly refusal: BerthError | undefined;
}

/**
 * Serves allocation requests on one WebSocket until it closes. Every frame gets one reply; a bad one
 * gets an error frame and the socket stays open. Requests run side by side, a bounded number and size at a time.
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
  const order = new ReplyOrder();

  const send = (body: object) => sendReply(socket, body, traffic.replies);
  const answer = async (frame: AllocationFrame, { turn, refusal }: Answering): Promise<void> => {
    const { requestId } = frame;
    const reply =
      refusal === undefined
        ? replyTo(frame, { principal, deps, signal: closed.signal })
        : Promise.resolve(toErrorBody(refusal));
    if (requestId !== undefined) {
      turn.skip();
      await send({ ...(await reply), request_id: requestId });
      return;
    }
    const [body] = await Promise.all([reply, turn.earlier]);
    await send(body);
    turn.done();
  };

  new Inbox(socket, traffic.requests, () => {
    const turn = order.next();
    // The message itself is not kept for as long as its policy takes.
    return (message, refusal) => answer(readFrame(message.toString("utf8")), { turn, refusal });
  });
  socket.on("close", () => {
    closed.abort();
    order.end();
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
