import http2 from "node:http2";
import type net from "node:net";
import type { Part } from "../lifecycle.ts";
import type { Logger } from "../log.ts";
import { limitBodyTime } from "./body-limit.ts";
import { CertificateRenewal, type ServerTls } from "./certificate-renewal.ts";
import { keepPinging } from "./keep-pinging.ts";
import { type ListenAddress, listenError } from "./listen-error.ts";
import {
  UNKNOWN_CALLER_LIMITS,
  type UnknownCallerLimits,
  UnknownCallers,
} from "./unknown-callers.ts";

type Handler = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;

/** How {@link createHttp2Server} builds a server. */
export interface Http2ServerOptions {
  readonly name: string;
  readonly handler: Handler;
  readonly address: ListenAddress;
  readonly logger: Logger;
  /**
   * Time between two pings of a connection, in ms (3,000 by default). A connection whose last two are
   * unanswered when the third is due is destroyed.
   */
  readonly pingIntervalMs?: number;
  /**
   * Requests that a connection may have open at a time, 256 by default. Clients that know of the limit wait
   * with further ones; others have them refused, before a handler sees them.
   */
  readonly maxStreams?: number;
  /**
   * Bytes that a caller may send ahead of what is read, on each stream and on the connection; 65,535 by default. At
   * a round trip of 200 ms nothing comes faster than five times this in a second. A caller makes the server
   * hold `maxStreams` times this at most: Node gives the connection's window back at once. Who sends pings
   * waits behind its own bytes, so a slow line must carry this within the time that an answer may take.
   */
  readonly windowBytes?: number;
  /** Serves over TLS 1.2 or newer instead of cleartext. */
  readonly tls?: ServerTls | undefined;
  /**
   * Whether an `authorization` header carries a known credential; must not throw. With it a connection
   * none of whose requests has carried one is destroyed after 10 s, and 4,096 of them are held at once.
   */
  readonly isKnown?: ((authorization: string | undefined) => boolean) | undefined;
  /** Other limits of such connections. */
  readonly unknownCallers?: Partial<UnknownCallerLimits>;
  /**
   * Paths of calls whose request is one message. Such a request is cancelled unless its body has ended within
   * `unaryBodyLimitMs`.
   */
  readonly unaryPaths?: ReadonlySet<string> | undefined;
  /** 10,000 ms by default. */
  readonly unaryBodyLimitMs?: number;
}

/** An HTTP/2 server as a {@link Part}; `port` is the real one after start. */
export interface Http2Server extends Part {
  readonly port: number;
}

// Three intervals stay below the 10 s in which a half-open link must be found.
const PING_INTERVAL_MS = 3_000;
const MAX_STREAMS = 256;
/** What HTTP/2 begins with. */
const WINDOW_BYTES = 65_535;
const HANDSHAKE_LIMIT_MS = 10_000;
const UNARY_BODY_LIMIT_MS = 10_000;

/**
 * Serves gRPC and Connect. connect-node has no server-side keepalive, so each session is pinged here:
 * a half-open connection is found within three intervals (9 s by default) and destroyed, which aborts
 * the streams on it. With `isKnown` and `unaryPaths` callers without a credential and slow senders hold nothing
 * for long.
 */
export function createHttp2Server(options: Http2ServerOptions): Http2Server {
  const sessions = new Set<http2.ServerHttp2Session>();
  const sockets = new Set<net.Socket>();
  const unknown = unknownCallers(options);
  const { server, renewal } = makeServer({ ...options, handler: guarded(options, unknown) });
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    unknown?.began(socket);
  });
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    if (options.windowBytes !== undefined) session.setLocalWindowSize(options.windowBytes);
    const stopPings = keepPinging(session, options.pingIntervalMs ?? PING_INTERVAL_MS);
    session.on("error", (err) => options.logger.debug("http2 session error", { err }));
    session.on("close", () => {
      stopPings();
      sessions.delete(session);
    });
  });
  server.on("sessionError", (err) => options.logger.debug("http2 session error", { err }));
  return {
    name: options.name,
    get port() {
      const address = server.address();
      return typeof address === "object" && address !== null ? address.port : 0;
    },
    async start() {
      await renewal?.renew();
      await listen(server, options.address);
      renewal?.watch();
      // Without a listener an accept that fails (no file descriptors left) would end the process.
      server.on("error", (err: Error) => options.logger.error("http2 server error", { err }));
    },
    async stop() {
      renewal?.stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      // A TLS client that has not finished its handshake has no session yet.
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function unknownCallers(options: Http2ServerOptions): UnknownCallers | undefined {
  const { isKnown, logger, unknownCallers: limits } = options;
  if (isKnown === undefined) return undefined;
  return new UnknownCallers({ isKnown, logger, limits: { ...UNKNOWN_CALLER_LIMITS, ...limits } });
}

/** The handler behind what is looked at of each request. */
function guarded(options: Http2ServerOptions, unknown: UnknownCallers | undefined): Handler {
  const { handler, unaryBodyLimitMs = UNARY_BODY_LIMIT_MS, unaryPaths } = options;
  return (request, response) => {
    unknown?.asked(request);
    const [path = ""] = request.url.split("?", 1);
    if (unaryPaths?.has(path)) limitBodyTime(request, unaryBodyLimitMs);
    handler(request, response);
  };
}

type AnyServer = http2.Http2Server | http2.Http2SecureServer;

function makeServer(options: Http2ServerOptions): {
  readonly server: AnyServer;
  readonly renewal?: CertificateRenewal;
} {
  const { handler, logger, tls } = options;
  const { maxStreams = MAX_STREAMS, windowBytes = WINDOW_BYTES } = options;
  const settings = { maxConcurrentStreams: maxStreams, initialWindowSize: windowBytes };
  if (tls === undefined) return { server: http2.createServer({ settings }, handler) };
  const server = http2.createSecureServer(
    {
      settings,
      minVersion: "TLSv1.2",
      ALPNProtocols: ["h2"],
      handshakeTimeout: tls.handshakeLimitMs ?? HANDSHAKE_LIMIT_MS,
    },
    handler,
  );
  // Plaintext, scanners, clients that do not trust the CA: theirs to notice, not ours.
  server.on("tlsClientError", (err, socket) => {
    logger.debug("tls handshake failed", { err });
    socket.destroy();
  });
  server.on("unknownProtocol", (socket) => socket.destroy());
  return { server, renewal: new CertificateRenewal(server, tls, logger) };
}

function listen(server: AnyServer, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (cause: Error): void => reject(listenError(cause, address));
    server.once("error", refused);
    server.listen(address.port, address.host, () => {
      server.off("error", refused);
      resolve();
    });
  });
}
