import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ArrivingBody } from "./arriving-body.ts";
import { departureOf } from "./departure.ts";
import { RequestBudget, SMALL_REQUEST_BYTES } from "./request-budget.ts";
import { UnsentReplies } from "./unsent-replies.ts";

/** What a reply takes beside its bytes until it has left: Node's and fastify's objects of a request. */
const REPLY_OVERHEAD_BYTES = 8 * 1024;
/** A handler has ended by then after its client has gone, in ms. */
const MAX_AFTERMATH_MS = 60_000;

/** What a program's servers hold for their clients, on HTTP and WebSocket together. */
export class HttpTraffic {
  readonly requests = new RequestBudget();
  readonly replies = new UnsentReplies();
}

/**
 * Bounds what a server holds: a body has a share of the budget from when it is more than a small one until its reply is there,
 * and clients that do not take their replies are cut off.
 */
export function boundTraffic(server: FastifyInstance, traffic: HttpTraffic): void {
  const bodies = new WeakMap<FastifyReply, ArrivingBody>();
  server.addHook("preParsing", (request, reply, payload, done) => {
    const bytes = declaredBytes(request);
    if (bytes !== undefined && bytes <= SMALL_REQUEST_BYTES) return done(null, payload);
    const body = new ArrivingBody(payload, { budget: traffic.requests, declaredBytes: bytes });
    bodies.set(reply, body);
    const { raw } = reply;
    if (raw.closed) body.end();
    else raw.once("close", () => endAfterClient(body, raw.writableFinished));
    done(null, body.stream);
  });
  server.addHook("onSend", async (_request, reply, payload) => {
    const body = bodies.get(reply);
    body?.end();
    // Many clients look for a reply when they have sent everything, and see none when the connection ends before.
    if (body?.isComplete === false) await body.discard();
    const bytes = bytesOf(payload);
    if (bytes !== undefined) watchDeparture(reply, bytes, traffic.replies);
    return payload;
  });
}

/** A handler goes on for a while after its client has gone. */
function endAfterClient(body: ArrivingBody, isAnswered: boolean): void {
  if (isAnswered || !body.isComplete) body.end();
  else setTimeout(() => body.end(), MAX_AFTERMATH_MS).unref();
}

/** Methods whose bodies nobody reads; they are dropped as they come. */
const BODYLESS_METHODS: readonly string[] = ["GET", "HEAD", "TRACE"];

/** Bytes of a body: 0 without one that is read, undefined when the client does not say. */
function declaredBytes({ method, headers }: FastifyRequest): number | undefined {
  if (BODYLESS_METHODS.includes(method)) return 0;
  if (headers["transfer-encoding"] !== undefined) return undefined;
  return Number(headers["content-length"] ?? 0);
}

/** Undefined for streams, which keep to what their clients read by themselves. */
function bytesOf(payload: unknown): number | undefined {
  if (payload === null || payload === undefined) return 0;
  if (typeof payload === "string" || Buffer.isBuffer(payload)) return Buffer.byteLength(payload);
  return undefined;
}

function watchDeparture(reply: FastifyReply, length: number, replies: UnsentReplies): void {
  const bytes = length + REPLY_OVERHEAD_BYTES;
  const { raw } = reply;
  const { socket } = reply.request;
  if (raw.closed || socket.destroyed) return;
  raw.once("close", () => replies.left(socket, bytes));
  replies.sending(socket, bytes, {
    departure: departureOf(socket),
    end: () => void socket.destroy(),
  });
}
