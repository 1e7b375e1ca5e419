import http, { type IncomingMessage } from "node:http";
import { BerthError, toErrorBody } from "../errors.ts";
import { PipelinedRequests } from "./pipelined-requests.ts";
import { answerMalformed, answerRaw } from "./raw-answer.ts";

/** Longest time in which a request arrives, as for a WebSocket's message: the largest one at 2.2 Mbit/s. */
const REQUEST_TIMEOUT_MS = 60_000;

/** How long a server waits for what a client sends, ms. */
export interface ArrivalLimits {
  /** The head of a request; 10 s by default. */
  readonly headersTimeout?: number;
  /** All of a request; 60 s by default. */
  readonly requestTimeout?: number;
}

/**
 * An HTTP/1.1 server that takes what a client pipelines a few requests at a time, and that answers what comes to no
 * handler with the error body as well: what is no request, an expectation, CONNECT. A request may come without a host;
 * that is for the handler to refuse. WebSocket is the one protocol that it changes to, when somebody listens for `upgrade`.
 */
export function createBoundedServer(
  handle: http.RequestListener,
  limits: ArrivalLimits = {},
): http.Server {
  const requests = new PipelinedRequests((request, response) => {
    if (asksForContinueOnly(request)) handle(request, response);
    else refuseExpectation(response);
  });
  const take: http.RequestListener = (request, response) => requests.take(request, response);
  const server: http.Server = http.createServer(
    {
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: 10_000,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 72_000,
      ...limits,
      requireHostHeader: false,
      shouldUpgradeCallback: (request) =>
        asksForWebSocket(request) && server.listenerCount("upgrade") > 0,
    },
    take,
  );
  server.on("checkExpectation", take);
  server.on("clientError", (failure: Error & { readonly code?: string }, socket) => {
    if (failure.code === "ECONNRESET" || socket.destroyed) return;
    requests.endWith(socket, () => answerMalformed(failure, socket));
  });
  server.on("connect", (_request, socket) => {
    const error = new BerthError("INVALID_ARGUMENT", "CONNECT: this is no proxy");
    requests.endWith(socket, () => answerRaw(socket, error));
  });
  return server;
}

/** HTTP/1.0 knows no expectations: RFC 9110 §10.1.1. */
function asksForContinueOnly({ headers, httpVersion }: IncomingMessage): boolean {
  return (
    httpVersion !== "1.1" ||
    headers.expect === undefined ||
    headers.expect.trim().toLowerCase() === "100-continue"
  );
}

function refuseExpectation(response: http.ServerResponse): void {
  const error = new BerthError("INVALID_ARGUMENT", "expect: only 100-continue is understood");
  response.writeHead(417, { "content-type": "application/json" });
  response.end(JSON.stringify(toErrorBody(error)));
}

/**
 * Whether a request asks for the one protocol that Berth's servers change to. An offer of another (`Upgrade: h2c` of
 * Java's and .NET's clients) is one that a server may leave alone: RFC 9110 §7.8.
 */
function asksForWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.trim().toLowerCase() === "websocket";
}
