import http2 from "node:http2";
import { isBerthError, toConnectError } from "@berth/service-kit";
import { Code, ConnectError } from "@connectrpc/connect";

/** How often a {@link LinkConnection} pings, and how long it waits for the answer, ms. */
export interface PingTimes {
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
}

/** How a {@link LinkConnection} is dialled and kept. */
export interface ConnectionOptions extends PingTimes {
  /** CA to trust for an https: URL, as PEM; rejects when there is none to trust. */
  readonly serverCa?: () => Promise<string | undefined>;
}

/**
 * One HTTP/2 connection of a Connect transport (its `sessionManager`): dialled at the first request,
 * pinged until it is closed, never dialled again. A half-open connection is found within interval and
 * timeout. connect-node's own manager is not used because it can arm its ping timer once more after
 * the connection was destroyed (`pingIdleConnection`, streams open), and a ping that throws from a
 * timer ends the process.
 */
export class LinkConnection {
  readonly authority: string;
  readonly #options: ConnectionOptions;
  #session: http2.ClientHttp2Session | undefined;
  #connected: Promise<http2.ClientHttp2Session> | undefined;
  #closed = false;

  constructor(url: string, options: ConnectionOptions) {
    this.authority = new URL(url).origin;
    this.#options = options;
  }

  /**
   * Opens a stream; rejects with UNAVAILABLE when the other end cannot be reached, and with the reason of what
   * `serverCa` rejects with.
   */
  async request(
    method: string,
    path: string,
    headers: http2.OutgoingHttpHeaders,
    options: Omit<http2.ClientSessionRequestOptions, "signal">,
  ): Promise<http2.ClientHttp2Stream> {
    this.#connected ??= this.#dial();
    const session = await this.#connected;
    if (session.closed || session.destroyed) throw unavailable("the connection is closed");
    const stream = session.request({ ...headers, ":method": method, ":path": path }, options);
    return resetInOwnTurn(stream);
  }

  /** Part of the interface of a session manager; the pings here do not depend on what is read. */
  notifyResponseByteRead(): void {}

  /** Closes the connection and every stream on it. May be called more than once. */
  close(): void {
    this.#closed = true;
    const session = this.#session;
    // As in `resetInOwnTurn`: whoever closes the link may run in the middle of its reading.
    setImmediate(() => session?.destroy(undefined, http2.constants.NGHTTP2_CANCEL));
  }

  /** The CA to trust; what says that there is none keeps its reason on its way through Connect. */
  async #trusted(): Promise<string | undefined> {
    try {
      return await this.#options.serverCa?.();
    } catch (thrown) {
      throw isBerthError(thrown) ? toConnectError(thrown) : thrown;
    }
  }

  async #dial(): Promise<http2.ClientHttp2Session> {
    const ca = await this.#trusted();
    if (this.#closed) throw unavailable("the connection is closed");
    const session = http2.connect(this.authority, ca === undefined ? {} : { ca });
    this.#session = session;
    const stopPings = keepPinging(session, this.#options);
    return new Promise((resolve, reject) => {
      session.once("connect", () => resolve(session));
      session.on("error", (cause: Error) => reject(unavailable(cause.message, cause)));
      session.once("close", () => {
        stopPings();
        reject(unavailable("the connection was closed"));
      });
    });
  }
}

function keepPinging(session: http2.ClientHttp2Session, times: PingTimes): () => void {
  let timeout: NodeJS.Timeout | undefined;
  const interval = setInterval(() => {
    if (session.destroyed || session.connecting || timeout !== undefined) return;
    timeout = setTimeout(() => session.destroy(unavailable("PING timed out")), times.pingTimeoutMs);
    try {
      session.ping(() => {
        clearTimeout(timeout);
        timeout = undefined;
      });
    } catch (thrown) {
      session.destroy(thrown instanceof Error ? thrown : undefined);
    }
  }, times.pingIntervalMs);
  return () => {
    clearInterval(interval);
    clearTimeout(timeout);
  };
}

/**
 * Resets a stream in a turn of its own. Connect does so where a promise of a received frame leads to, which
 * is in the middle of the session's reading; nghttp2 may then free the stream that it is closing just now,
 * and the process ends with a failed assertion (`CheckAllocatedSize`, nodejs/node#38964).
 */
function resetInOwnTurn(stream: http2.ClientHttp2Stream): http2.ClientHttp2Stream {
  const close = stream.close.bind(stream);
  stream.close = (code, callback) => {
    if (callback !== undefined) stream.once("close", callback);
    setImmediate(() => {
      if (!stream.closed) close(code);
    });
  };
  return stream;
}

function unavailable(message: string, cause?: unknown): ConnectError {
  return new ConnectError(message, Code.Unavailable, undefined, undefined, cause);
}
