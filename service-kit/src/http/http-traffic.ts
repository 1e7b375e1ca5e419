import { type Readable, Transform } from "node:stream";
import type { FastifyInstance, FastifyReply } from "fastify";
import {
  MAX_BODY_BYTES,
  RequestBudget,
  type RequestHold,
  SMALL_REQUEST_BYTES,
} from "./request-budget.ts";
import { UnsentReplies } from "./unsent-replies.ts";

/** Replies up to this size are bounded by the number of connections. */
const SMALL_REPLY_BYTES = 64 * 1024;
/** A reply that a client has not taken by then ends its connection, in ms. */
export const MAX_DEPARTURE_MS = 60_000;
/** A handler has ended by then after its client has gone, in ms. */
const MAX_AFTERMATH_MS = 60_000;

/** What a program's servers hold for their clients, on HTTP and WebSocket together. */
export class HttpTraffic {
  readonly requests = new RequestBudget();
  readonly replies = new UnsentReplies();
}

/**
 * Bounds what a server holds: a body is read when it has a share of the budget, which it keeps until its reply is there, and
 * clients that do not take their replies are cut off.
 */
export function boundTraffic(server: FastifyInstance, traffic: HttpTraffic): void {
  const holds = new WeakMap<FastifyReply, RequestHold>();
  const holdFor = async (reply: FastifyReply, bytes: number): Promise<void> => {
    const gone = new AbortController();
    reply.raw.once("close", () => gone.abort());
    const hold = await traffic.requests.hold(bytes, gone.signal);
    holds.set(reply, hold);
    reply.raw.once("close", () => {
      if (!reply.raw.writableFinished) setTimeout(() => hold.release(), MAX_AFTERMATH_MS).unref();
    });
  };
  server.addHook("preParsing", (request, reply, payload, done) => {
    const bytes = declaredBytes(request.headers);
    // Too large a body is refused before it is read.
    if (bytes === 0 || (bytes !== undefined && bytes > MAX_BODY_BYTES)) done(null, payload);
    else if (bytes === undefined)
      done(
        null,
        counted(payload, () => holdFor(reply, MAX_BODY_BYTES)),
      );
    else if (bytes <= SMALL_REQUEST_BYTES) done(null, payload);
    else holdFor(reply, bytes).then(() => done(null, payload), done);
  });
  server.addHook("onSend", (_request, reply, payload, done) => {
    holds.get(reply)?.release();
    if (typeof payload === "string" || Buffer.isBuffer(payload)) {
      watchDeparture(reply, Buffer.byteLength(payload), traffic.replies);
    }
    done(null, payload);
  });
}

/** Bytes of a body: 0 without one, undefined when the client does not say. */
function declaredBytes(headers: Readonly<Record<string, unknown>>): number | undefined {
  if (headers["transfer-encoding"] !== undefined) return undefined;
  return Number(headers["content-length"] ?? 0);
}

/** The body; what is beyond the size of a small one waits for `hold`. */
function counted(body: Readable, hold: () => Promise<void>): Readable {
  let bytes = 0;
  let held: Promise<void> | undefined;
  const passing = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      bytes += chunk.length;
      if (bytes <= SMALL_REQUEST_BYTES) return done(null, chunk);
      held ??= hold();
      held.then(() => done(null, chunk), done);
    },
  });
  // Not a pipeline, which would close the connection before a refusal has left.
  body.once("error", (cause) => passing.destroy(cause));
  return body.pipe(passing);
}

function watchDeparture(reply: FastifyReply, bytes: number, replies: UnsentReplies): void {
  if (bytes <= SMALL_REPLY_BYTES) return;
  const { raw } = reply;
  const { socket } = reply.request;
  if (raw.closed || socket.destroyed) return;
  const late = setTimeout(() => socket.destroy(), MAX_DEPARTURE_MS);
  late.unref();
  raw.once("close", () => {
    clearTimeout(late);
    replies.left(socket, bytes);
  });
  replies.sending(socket, bytes, () => socket.destroy());
}
