import http2 from "node:http2";
import type net from "node:net";
import type { Part } from "../lifecycle.ts";
import type { Logger } from "../log.ts";
import { CertificateRenewal, type ServerTls } from "./certificate-renewal.ts";
import { type ListenAddress, listenError } from "./server.ts";

/** How {@link createHttp2Server} builds a server. */
export interface Http2ServerOptions {
  readonly name: string;
  readonly handler: (
    request: http2.Http2ServerRequest,
    response: http2.Http2ServerResponse,
  ) => void;
  readonly address: ListenAddress;
  readonly logger: Logger;
  /**
   * Time between two pings of a connection, in ms (3,000 by default). A connection whose last two are
   * unanswered when the third is due is destroyed.
   */
  readonly pingIntervalMs?: number;
  /** Serves over TLS 1.2 or newer instead of cleartext. */
  readonly tls?: ServerTls | undefined;
}

/** An HTTP/2 server as a {@link Part}; `port` is the real one after start. */
export interface Http2Server extends Part {
  readonly port: number;
}

// Three intervals stay below the 10 s in which a half-open link must be found.
const PING_INTERVAL_MS = 3_000;
const MAX_STREAMS_PER_CONNECTION = 256;
const HANDSHAKE_LIMIT_MS = 10_000;

/**
 * Serves gRPC and Connect. connect-node has no server-side keepalive, so each session is pinged here:
 * a half-open connection is found within three intervals (9 s by default) and destroyed, which aborts
 * the streams on it.
 */
export function createHttp2Server(options: Http2ServerOptions): Http2Server {
  const sessions = new Set<http2.ServerHttp2Session>();
  const sockets = new Set<net.Socket>();
  const { server, renewal } = makeServer(options);
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("session", (session: http2.ServerHttp2Session) => {
    sessions.add(session);
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

type AnyServer = http2.Http2Server | http2.Http2SecureServer;

function makeServer({ handler, logger, tls }: Http2ServerOptions): {
  readonly server: AnyServer;
  readonly renewal?: CertificateRenewal;
} {
  const settings = { maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION };
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

function keepPinging(session: http2.ServerHttp2Session, intervalMs: number): () => void {
  let missed = 0;
  const timer = setInterval(() => {
    if (session.destroyed) return;
    if (missed >= 2) {
      session.destroy();
      return;
    }
    missed += 1;
    // A ping that throws from a timer would end the process.
    try {
      session.ping((error) => {
        if (error === null) missed = 0;
      });
    } catch {
      session.destroy();
    }
  }, intervalMs);
  timer.unref();
  return () => clearInterval(timer);
}
