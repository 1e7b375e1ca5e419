import { randomBytes } from "node:crypto";
import {
  type Authenticate,
  type createHttpServer,
  loopbackAuthenticator,
  type Principal,
} from "@berth/service-kit";

type HttpServer = ReturnType<typeof createHttpServer>;
type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** Store and term of the control-plane in whose name a request is made. */
export interface CallerFence {
  readonly storeId: string;
  /** Decimal. */
  readonly controllerTerm: string;
}

/** A request that came as an order over the link. */
export interface LinkRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** JSON text; absent without a body. */
  readonly bodyJson?: string;
  readonly fence: CallerFence;
}

const SCHEME = "Berth-Order ";
const TOKEN_BYTES = 32;

/**
 * Lets orders of the control-plane into the API that the port serves, without a socket. Such a request carries a token
 * that is made for it and ends with it, so that nobody outside of the process can speak in the control-plane's name.
 */
export class LinkCalls {
  readonly #loopback: Authenticate;
  /** By token. */
  readonly #open = new Map<string, CallerFence>();
  readonly #fences = new WeakMap<Principal, CallerFence>();

  constructor(orgId: string) {
    this.#loopback = loopbackAuthenticator(orgId);
  }

  /** Tells requests of the link from those of the port, who are let in as on any loopback port. */
  readonly authenticate: Authenticate = (credentials) => {
    const principal = this.#loopback(credentials);
    const { authorization = "" } = credentials;
    const fence = authorization.startsWith(SCHEME)
      ? this.#open.get(authorization.slice(SCHEME.length))
      : undefined;
    if (fence !== undefined) this.#fences.set(principal, fence);
    return principal;
  };

  /** In whose name a request is made; undefined for a client of the port. */
  fenceOf(principal: Principal): CallerFence | undefined {
    return this.#fences.get(principal);
  }

  /** Asks a server whose callers are told by {@link authenticate}. Rejects when the signal is aborted. */
  async call(
    server: HttpServer,
    { method, path: url, bodyJson, fence }: LinkRequest,
    signal: AbortSignal,
  ): Promise<{ readonly status: number; readonly bodyJson: string }> {
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    const type = bodyJson === undefined ? {} : { "content-type": "application/json" };
    const headers = { host: "localhost", authorization: `${SCHEME}${token}`, ...type };
    const payload = bodyJson === undefined ? {} : { payload: bodyJson };
    this.#open.set(token, fence);
    try {
      signal.throwIfAborted();
      const answer = await server.inject({
        ...{ method: method as Method, url, headers, signal },
        ...payload,
      });
      const isJson = /^application\/json\b/.test(String(answer.headers["content-type"] ?? ""));
      const text = answer.payload;
      const body = isJson || text === "" ? text : JSON.stringify(text);
      return { status: answer.statusCode, bodyJson: body };
    } finally {
      this.#open.delete(token);
    }
  }
}
