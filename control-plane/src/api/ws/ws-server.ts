import type http from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  type Authenticate,
  answerRaw,
  BerthError,
  checkOrigin,
  createBoundedServer,
  departureOf,
  type HttpTraffic,
  type ListenAddress,
  listenError,
  MAX_BODY_BYTES,
  type OriginRules,
  type Part,
  type Principal,
  toBerthError,
  toErrorBody,
} from "@berth/service-kit";
import { WebSocketServer } from "ws";
import type { Autoscaler } from "../../autoscaler/autoscaler.ts";
import type { ReportFeed } from "../../org/report/report-feed.ts";
import { type AllocatorSocketDeps, serveAllocatorSocket } from "./allocator-socket.ts";
import { serveAutoscaleSocket } from "./autoscale-socket.ts";
import { serveFeedSocket } from "./feed-socket.ts";
import { SocketPulse } from "./socket-pulse.ts";
import { UnfinishedMessages } from "./unfinished-messages.ts";

const PING_INTERVAL_MS = 20_000;
const CLOSE_GRACE_MS = 500;
const SWEEP_INTERVAL_MS = 1_000;
/** Time for a client to send the head of its upgrade, in ms. */
const UPGRADE_LIMIT_MS = 10_000;

/** What a socket is for, by the URL that its client dialled. */
export type SocketUse = "allocator" | "feed" | "adhoc";

/** What the WebSocket endpoints need. */
export interface WsDeps extends AllocatorSocketDeps {
  readonly autoscaler: Pick<Autoscaler, "scaler" | "scale" | "scaling" | "listeners">;
  readonly feed: Pick<ReportFeed, "subscribe">;
  readonly authenticate: Authenticate;
  readonly origins: OriginRules;
  /** What these endpoints share with the program's other servers. */
  readonly traffic: HttpTraffic;
  /** Time between two pings, ms; 20 s when absent. */
  readonly pingIntervalMs?: number;
}

/**
 * The WebSocket endpoints of the allocator and of the report: every path of a port of its own ({@link WsEndpoints.part}), where a
 * URL with the key `interval` or `changes` reads the report, and paths of the REST port ({@link WsEndpoints.attach}). Who reads the
 * report may ask the allocator on the same socket. Frames hold up to 16 MiB; a larger one closes
 * the socket with 1009. Sockets of which nothing comes between two pings are terminated.
 */
export class WsEndpoints {
  readonly #deps: WsDeps;
  readonly #sockets: WebSocketServer;
  readonly #pulse = new SocketPulse();
  readonly #unfinished = new UnfinishedMessages();
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #pingIntervalMs: number;

  constructor({ pingIntervalMs = PING_INTERVAL_MS, ...deps }: WsDeps) {
    this.#deps = deps;
    this.#pingIntervalMs = pingIntervalMs;
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: MAX_BODY_BYTES,
      perMessageDeflate: false,
    });
    this.#sockets.on("wsClientError", refuseHandshake);
  }

  /** Number of open sockets. */
  get connections(): number {
    return this.#sockets.clients.size;
  }

  /** Serves paths on an HTTP server that is somebody else's. */
  attach(server: http.Server, paths: ReadonlyMap<string, SocketUse>): void {
    server.on("upgrade", (request, socket, head) => {
      const { pathname } = urlOf(request);
      const use = paths.get(pathname);
      if (use !== undefined) this.#upgrade(request, socket, { head, use });
      else answerRaw(socket, new BerthError("NOT_FOUND", `no WebSocket at ${pathname}`));
    });
  }

  /** A port of its own that takes any path, as the seeds' clients dial it; `useOf` says what a URL is for. */
  part(address: ListenAddress, useOf: (query: URLSearchParams) => SocketUse = byInterval): Part {
    const limits = { headersTimeout: UPGRADE_LIMIT_MS, requestTimeout: UPGRADE_LIMIT_MS };
    const server = createBoundedServer(refusePlainRequest, limits);
    server.on("upgrade", (request, socket, head) => {
      this.#upgrade(request, socket, { head, use: useOf(urlOf(request).searchParams) });
    });
    return {
      name: "websocket",
      start: () =>
        new Promise((resolve, reject) => {
          server.once("error", (cause) => reject(listenError(cause, address)));
          server.listen(address.port, address.host, () => {
            this.#watch();
            resolve();
          });
        }),
      stop: async () => {
        for (const timer of this.#timers.splice(0)) clearInterval(timer);
        await this.#closeSockets();
        await new Promise((resolve) => {
          server.close(resolve);
          server.closeAllConnections();
        });
      },
    };
  }

  /** One watch over the sockets of all ports: a second one, a moment later, would find every socket silent since the first. */
  #watch(): void {
    if (this.#timers.length > 0) return;
    this.#timers.push(
      setInterval(() => this.#pulse.ping(this.#sockets.clients), this.#pingIntervalMs),
      setInterval(() => this.#unfinished.sweep(performance.now()), SWEEP_INTERVAL_MS),
    );
  }

  #upgrade(
    request: IncomingMessage,
    socket: Duplex,
    { head, use }: { readonly head: Buffer; readonly use: SocketUse },
  ): void {
    // Node's types allow for streams that somebody else makes its servers serve.
    if (!(socket instanceof Socket)) {
      socket.destroy();
      return;
    }
    let principal: Principal;
    try {
      checkOrigin(request.headers, this.#deps.origins);
      principal = this.#deps.authenticate(request.headers);
    } catch (thrown) {
      answerRaw(socket, toBerthError(thrown));
      return;
    }
    this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const departure = departureOf(socket);
      this.#pulse.watch(webSocket, { stream: socket, departure });
      this.#unfinished.watch(webSocket, socket);
      const { traffic, feed, autoscaler, logger } = this.#deps;
      // Without a listener the first bad frame would end the program.
      webSocket.on("error", (err) => logger.debug("websocket error", { err }));
      const taker = { socket: webSocket, departure, traffic };
      const { searchParams } = urlOf(request);
      if (use === "adhoc") {
        serveAutoscaleSocket(taker, searchParams, { ...autoscaler, logger });
        return;
      }
      const isServed = use === "allocator" || serveFeedSocket(taker, searchParams, feed);
      if (isServed) serveAllocatorSocket({ ...taker, principal }, this.#deps);
    });
  }

  async #closeSockets(): Promise<void> {
    const open = [...this.#sockets.clients];
    const closed = open.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const socket of open) socket.close(1001, "the server is shutting down");
    const late = setTimeout(() => {
      for (const socket of open) socket.terminate();
    }, CLOSE_GRACE_MS);
    await Promise.all(closed);
    clearTimeout(late);
  }
}

/** RFC 6455 §4.2.2 and §4.4: the versions are told to a client that asks for none of them. */
function refuseHandshake(failure: Error, socket: Duplex, request: IncomingMessage): void {
  const error = new BerthError("INVALID_ARGUMENT", `no WebSocket handshake: ${failure.message}`);
  const status = request.method === "GET" ? error.httpStatus : 405;
  answerRaw(socket, error, { status, headers: { "sec-websocket-version": "13, 8" } });
}

/** One answer a connection: whoever floods the port with requests has nothing to wait for. */
function refusePlainRequest(_request: IncomingMessage, response: ServerResponse): void {
  const error = new BerthError("INVALID_ARGUMENT", "this port speaks WebSocket");
  const headers = { upgrade: "websocket", connection: "close, upgrade" };
  response.writeHead(426, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(toErrorBody(error)));
}

/** The seeds' port of the allocator and of the report: a URL with a key of the feed reads the report. */
function byInterval(query: URLSearchParams): SocketUse {
  return query.has("interval") || query.has("changes") ? "feed" : "allocator";
}

function urlOf(request: IncomingMessage): Pick<URL, "pathname" | "searchParams"> {
  const [pathname = "/", ...query] = (request.url ?? "/").split("?");
  return { pathname, searchParams: new URLSearchParams(query.join("?")) };
}
