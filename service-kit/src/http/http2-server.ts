import http2 from "node:http2";
import type { Part } from "../lifecycle.ts";
import type { Logger } from "../log.ts";
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
}

/** An HTTP/2 (cleartext) server as a {@link Part}; `port` is the real one after start. */
export interface Http2Server extends Part {
  readonly port: number;
}

// Three intervals stay below the 10 s in which a half-open link must be found.
const PING_INTERVAL_MS = 3_000;
const MAX_STREAMS_PER_CONNECTION = 256;

/**
 * Serves gRPC and Connect. connect-node has no server-side keepalive, so each session is pinged here:
 * a half-open connection is found within three intervals (9 s by default) and destroyed, which aborts
 * the streams on it.
 */
export function createHttp2Server(options: Http2ServerOptions): Http2Server {
  const sessions = new Set<http2.ServerHttp2Session>();
  const settings = { maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION };
  const server = http2.createServer({ settings }, options.handler);
  server.on("session", (session) => {
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
      await listen(server, options.address);
      // Without a listener an accept that fails (no file descriptors left) would end the process.
      server.on("error", (err) => options.logger.error("http2 server error", { err }));
    },
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}

function listen(server: http2.Http2Server, address: ListenAddress): Promise<void> {
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
