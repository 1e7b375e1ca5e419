import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Requests of one connection that are worked on, or whose replies have not left. */
const MAX_UNDER_WAY = 16;
/**
 * Requests of one connection that wait for that. Node's parser gives all that 64 KiB of input hold, some 2,000, before
 * it looks whether replies are taken; a connection with more than these is ended, as one may (RFC 9112 §9.3.2).
 */
const MAX_WAITING = 112;

interface Connection {
  underWay: number;
  readonly waiting: (() => void)[];
}

/** A handler that takes the requests which a client pipelines on one connection a few at a time. */
export function boundPipelining(handle: RequestListener): RequestListener {
  const connections = new WeakMap<Socket, Connection>();
  const begin = (
    connection: Connection,
    [request, response]: readonly [IncomingMessage, ServerResponse],
  ) => {
    connection.underWay += 1;
    response.once("close", () => {
      connection.underWay -= 1;
      if (!request.socket.destroyed) connection.waiting.shift()?.();
    });
    handle(request, response);
  };
  return (request, response) => {
    const { socket } = request;
    if (socket.destroyed) return;
    const connection = connections.get(socket) ?? { underWay: 0, waiting: [] };
    connections.set(socket, connection);
    const { underWay, waiting } = connection;
    if (underWay < MAX_UNDER_WAY) begin(connection, [request, response]);
    else if (waiting.length < MAX_WAITING)
      waiting.push(() => begin(connection, [request, response]));
    else {
      waiting.length = 0;
      socket.destroy();
    }
  };
}
