import type http2 from "node:http2";
import type net from "node:net";
import type { Logger } from "../log.ts";

/** What callers without a known credential may hold of a port. */
export interface UnknownCallerLimits {
  /** Time in which a connection has to show a known credential, in ms. */
  readonly graceMs: number;
  /** Most connections at once that have not shown one; newer ones are refused. */
  readonly connections: number;
}

/** 10 s, 4,096 connections: a fleet that comes back at once fits, and whoever is refused tries again. */
export const UNKNOWN_CALLER_LIMITS: UnknownCallerLimits = { graceMs: 10_000, connections: 4_096 };

/** What {@link UnknownCallers} needs. */
export interface UnknownCallersOptions {
  /** Whether an `authorization` header carries a known credential. */
  readonly isKnown: (authorization: string | undefined) => boolean;
  readonly limits: UnknownCallerLimits;
  readonly logger: Logger;
}

interface Waiting {
  readonly socket: net.Socket;
  readonly timer: NodeJS.Timeout;
}

type Endpoint = Pick<net.Socket, "remoteAddress" | "remotePort" | "localAddress">;

/**
 * The connections of a port none of whose requests has carried a known credential, from the first packet on, so
 * that TLS handshakes count too. One that has shown one is not looked at any more.
 */
export class UnknownCallers {
  readonly #options: UnknownCallersOptions;
  /** By endpoint: a request knows the TLS socket, not the TCP socket below it. */
  readonly #waiting = new Map<string, Waiting>();
  #toldFull = false;

  constructor(options: UnknownCallersOptions) {
    this.#options = options;
  }

  /** Number of connections that have shown no known credential. */
  get size(): number {
    return this.#waiting.size;
  }

  /** A connection has begun: it gets its time, or is refused. */
  began(socket: net.Socket): void {
    const { limits, logger } = this.#options;
    const endpoint = endpointOf(socket);
    if (endpoint === undefined) {
      socket.destroy();
      return;
    }
    if (this.#waiting.size >= limits.connections) {
      socket.destroy();
      if (!this.#toldFull) logger.warn("too many connections without a known credential");
      this.#toldFull = true;
      return;
    }
    const timer = setTimeout(() => this.#expire(endpoint, socket), limits.graceMs);
    timer.unref();
    this.#waiting.set(endpoint, { socket, timer });
    socket.once("close", () => this.#remove(endpoint, socket));
  }

  /** A request has come: with a known credential its connection may stay. */
  asked({ headers, socket }: http2.Http2ServerRequest): void {
    const endpoint = endpointOf(socket);
    const waiting = endpoint === undefined ? undefined : this.#waiting.get(endpoint);
    if (endpoint === undefined || waiting === undefined) return;
    if (this.#options.isKnown(headers.authorization)) this.#remove(endpoint, waiting.socket);
  }

  #expire(endpoint: string, socket: net.Socket): void {
    // When this process was busy the credential may wait to be read: timers come before sockets.
    setImmediate(() => {
      if (this.#waiting.get(endpoint)?.socket !== socket) return;
      this.#options.logger.debug("a connection without a known credential was closed");
      socket.destroy();
    });
  }

  #remove(endpoint: string, socket: net.Socket): void {
    const waiting = this.#waiting.get(endpoint);
    // The system may have given the endpoint to a newer connection.
    if (waiting?.socket !== socket) return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(endpoint);
    if (this.#waiting.size <= this.#options.limits.connections / 2) this.#toldFull = false;
  }
}

/** Names a connection as long as it is there; undefined when its other end has gone. */
function endpointOf({ remoteAddress, remotePort, localAddress }: Endpoint): string | undefined {
  if (remoteAddress === undefined || remotePort === undefined) return undefined;
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
