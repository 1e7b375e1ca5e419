import type { IncomingMessage } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { createInterface } from "node:readline";

const ANSWER_LIMIT_MS = 30_000;

/** An object of the API, as its JSON is. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly generation?: number;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
  };
}

/** One line of a watch. */
export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: T;
}

/** How {@link KubeApi.request} asks. */
export interface KubeRequest {
  readonly body?: unknown;
  /** "application/json" by default. */
  readonly contentType?: string;
  /** For {@link KubeApi.request}: the whole answer within this; 30 s by default. */
  readonly limitMs?: number;
  readonly signal?: AbortSignal;
}

/** What the API server refused: HTTP status, and the reason of its Status object ("NotFound"). */
export class KubeRefusal extends Error {
  override readonly name = "KubeRefusal";
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** Who asks, and whom. */
export interface KubeAccess {
  /** "https://127.0.0.1:6443". */
  readonly url: string;
  /** PEM of the server's CA. */
  readonly ca: string;
  readonly token: string;
}

/**
 * The API server in plain HTTPS and JSON. The harness plays the kubelet and the administrator with it, not
 * with the client library that the product uses, so that a fault of that one is not on both sides.
 */
export class KubeApi {
  readonly #access: KubeAccess;
  readonly #agent: Agent;

  constructor(access: KubeAccess, maxSockets = 16) {
    this.#access = access;
    this.#agent = new Agent({ ca: access.ca, keepAlive: true, maxSockets });
  }

  /** One request; rejects with {@link KubeRefusal} for an answer that is not 2xx. */
  async request<T = KubeObject>(
    method: string,
    path: string,
    options: KubeRequest = {},
  ): Promise<T> {
    const signals = [AbortSignal.timeout(options.limitMs ?? ANSWER_LIMIT_MS)];
    if (options.signal) signals.push(options.signal);
    const signal = AbortSignal.any(signals);
    const response = await this.#send(method, path, { ...options, signal });
    const text = await textOf(response);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return parse(text);
    throw refusal(status, text, `${method} ${path}`);
  }

  /** The text of a page that is not JSON, such as /readyz. */
  async requestText(path: string, limitMs = ANSWER_LIMIT_MS): Promise<string> {
    const response = await this.#send("GET", path, { signal: AbortSignal.timeout(limitMs) });
    return textOf(response);
  }

  /** {@link request} with GET. */
  async get<T = KubeObject>(path: string): Promise<T> {
    return this.request<T>("GET", path);
  }

  /** A watch: gives each event; resolves at its end, rejects when it is cut or refused. */
  async watch<T>(
    path: string,
    options: { readonly signal: AbortSignal; readonly onEvent: (event: WatchEvent<T>) => void },
  ): Promise<void> {
    const separator = path.includes("?") ? "&" : "?";
    const target = `${path}${separator}watch=1&allowWatchBookmarks=true`;
    const response = await this.#send("GET", target, { signal: options.signal });
    const status = response.statusCode ?? 0;
    if (status !== 200) throw refusal(status, await textOf(response), `watch ${path}`);
    const ended = new Promise<void>((resolve, reject) => {
      response.once("end", resolve).once("error", reject);
      response.once("close", () => reject(new Error(`watch ${path} was cut`)));
    });
    const lines = createInterface({ input: response });
    lines.on("line", (line) => {
      // A stream that is cut ends in half a line.
      if (line.endsWith("}")) options.onEvent(JSON.parse(line));
    });
    // Its input's error comes through it too; the response tells it already.
    lines.on("error", () => undefined);
    await ended;
  }

  /** Closes the connections that nobody uses. */
  close(): void {
    this.#agent.destroy();
  }

  #send(method: string, path: string, options: KubeRequest): Promise<IncomingMessage> {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body);
    const headers: Record<string, string | number> = {
      accept: "application/json",
      authorization: `Bearer ${this.#access.token}`,
    };
    if (body !== undefined) {
      headers["content-type"] = options.contentType ?? "application/json";
      headers["content-length"] = Buffer.byteLength(body);
    }
    return new Promise((resolve, reject) => {
      const request = httpsRequest(new URL(path, this.#access.url), {
        method,
        headers,
        // A watch has its connection for itself: it must not wait for one of the pool.
        agent: path.includes("watch=1") ? new Agent({ ca: this.#access.ca }) : this.#agent,
        ...(options.signal && { signal: options.signal }),
      });
      request.once("response", resolve).on("error", reject).end(body);
    });
  }
}

/** Whether the API server said that there is no such object. */
export function isNotFound(thrown: unknown): boolean {
  return thrown instanceof KubeRefusal && thrown.status === 404;
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function parse<T>(text: string): T {
  return JSON.parse(text === "" ? "null" : text);
}

function refusal(status: number, text: string, what: string): KubeRefusal {
  let told: { reason?: string; message?: string } = {};
  if (text.startsWith("{")) told = JSON.parse(text);
  return new KubeRefusal(status, told.reason ?? "", `${what}: ${status} ${told.message ?? text}`);
}
