import {
  type BerthError,
  type Departure,
  type HttpTraffic,
  type Logger,
  type Principal,
  toBerthError,
  toErrorBody,
} from "@berth/service-kit";
import type { WebSocket } from "ws";
import { type AllocationFrame, readFrame } from "../../allocation/allocation-request.ts";
import { type AllocationAnswerDeps, allocationAnswer } from "../allocation-answer.ts";
import { Inbox } from "./inbox.ts";
import { ReplyOrder, type Turn } from "./reply-order.ts";
import { sendFrame } from "./send-frame.ts";

/** What serving a socket takes. */
export interface AllocatorSocketDeps extends AllocationAnswerDeps {
  readonly logger: Logger;
}

/** A socket of a caller, and what all callers share. */
export interface AllocatorSocket {
  readonly socket: WebSocket;
  /** That of the connection below it. */
  readonly departure: Departure;
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
 * under way until its reply has left, and a client that takes nothing of its replies for a minute or two is cut off, or
 * earlier when it leaves most unread and all clients together leave too much.
 */
export function serveAllocatorSocket(
  { socket, departure, principal, traffic }: AllocatorSocket,
  deps: AllocatorSocketDeps,
): void {
  const closed = new AbortController();
  const order = new ReplyOrder();

  const send = (body: object) =>
    sendFrame({ socket, departure, traffic }, Buffer.from(JSON.stringify(body)));
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
}

async function replyTo(
  frame: AllocationFrame,
  context: { principal: Principal; deps: AllocatorSocketDeps; signal: AbortSignal },
): Promise<object> {
  const { principal, deps, signal } = context;
  try {
    return await allocationAnswer(frame, deps, { principal, signal });
  } catch (thrown) {
    if (toBerthError(thrown).reason === "INTERNAL") {
      deps.logger.error("allocation failed", { err: thrown });
    }
    return toErrorBody(thrown);
  }
}
