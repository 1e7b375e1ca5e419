import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { BerthError } from "../errors.ts";
import { answerRaw } from "./raw-answer.ts";

/** Requests of one connection that are worked on, or whose replies have not left. */
const MAX_UNDER_WAY = 16;
/** Requests of one connection that wait for that; whoever sends more is told so behind their replies. */
const MAX_WAITING = 112;
/**
 * Requests of one connection that are dropped behind those. Node's parser gives all that 64 KiB of input hold, before it
 * looks whether replies are taken; a connection with more is destroyed.
 */
const MAX_DROPPED = 2_000;
/** Those of all connections: Node keeps 1.5 KB of each until its connection ends. */
const MAX_ALL_DROPPED = 20_000;

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

interface Connection {
  readonly underWay: Set<Exchange>;
  readonly waiting: Exchange[];
  dropped: number;
  /** Ends the connection, when the replies to what was taken have left. No further request is taken then. */
  end: (() => void) | undefined;
}

/** Takes the requests that a client pipelines on one connection a few at a time, and gives them to a handler. */
export class PipelinedRequests {
  readonly #handle: RequestListener;
  readonly #connections = new WeakMap<Duplex, Connection>();
  #dropped = 0;

  constructor(handle: RequestListener) {
    this.#handle = handle;
  }

  /** Takes a request: its turn comes when enough earlier replies of its connection have left. */
  take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    if (socket.destroyed) return;
    const connection = this.#connectionOf(socket);
    const { underWay, waiting, end } = connection;
    if (end !== undefined) this.#drop(connection, socket);
    else if (underWay.size < MAX_UNDER_WAY) this.#begin(connection, { request, response });
    else if (waiting.length < MAX_WAITING) waiting.push({ request, response });
    else this.endWith(socket, () => answerRaw(socket, tooMany()));
  }

  /**
   * Takes no further request of a connection, and calls `end` when the replies to those that have come whole have left:
   * at once without any. Again is no harm, the first `end` counts.
   */
  endWith(socket: Duplex, end: () => void): void {
    const connection = this.#connectionOf(socket);
    if (connection.end !== undefined) return;
    connection.end = end;
    endIfAnswered(connection);
  }

  #connectionOf(socket: Duplex): Connection {
    const known = this.#connections.get(socket);
    if (known !== undefined) return known;
    const connection = { underWay: new Set<Exchange>(), waiting: [], dropped: 0, end: undefined };
    this.#connections.set(socket, connection);
    return connection;
  }

  #begin(connection: Connection, exchange: Exchange): void {
    const { request, response } = exchange;
    connection.underWay.add(exchange);
    response.once("close", () => {
      connection.underWay.delete(exchange);
      if (request.socket.destroyed) return;
      const next = connection.waiting.shift();
      if (next !== undefined) this.#begin(connection, next);
      endIfAnswered(connection);
    });
    this.#handle(request, response);
  }

  #drop(connection: Connection, socket: Duplex): void {
    if (connection.dropped === 0) socket.once("close", () => this.#forgetDropped(connection));
    connection.dropped += 1;
    this.#dropped += 1;
    if (connection.dropped > MAX_DROPPED || this.#dropped > MAX_ALL_DROPPED) socket.destroy();
  }

  #forgetDropped({ dropped }: Connection): void {
    this.#dropped -= dropped;
  }
}

function endIfAnswered(connection: Connection): void {
  const { underWay, waiting, end } = connection;
  if (end === undefined || [...underWay, ...waiting].some(isOwed)) return;
  connection.end = () => {};
  end();
}

/** A request that breaks off in its body gets no reply, unless one has begun. */
function isOwed({ request, response }: Exchange): boolean {
  return request.complete || response.headersSent;
}

function tooMany(): BerthError {
  const most = MAX_UNDER_WAY + MAX_WAITING;
  return new BerthError(
    "OVERLOADED",
    `more than ${most} requests of a connection wait for their replies: this one and those behind it are not looked at; send fewer at a time`,
  );
}
