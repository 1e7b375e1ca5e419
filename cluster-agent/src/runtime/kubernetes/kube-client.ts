import { BerthError } from "@berth/service-kit";
import {
  HttpMethod,
  IsomorphicFetchHttpLibrary,
  type KubeConfig,
  RequestContext,
  type ResponseContext,
} from "@kubernetes/client-node";
import { kubeErrorOf } from "./kube-error.ts";
import { type KubeList, type KubeObject, type KubeResource, pathOf } from "./kube-objects.ts";

/** Our name in the managed fields of what we write. */
export const FIELD_MANAGER = "berth-cluster-agent";
/** Longest wait for an answer that is no watch, ms. */
const REQUEST_LIMIT_MS = 10_000;
/** Objects on one page of a list. */
const PAGE = 500;
/** Longest line of a watch, characters; etcd takes no object beyond 1.5 MiB. */
const MAX_LINE_CHARACTERS = 16 * 1024 * 1024;

type Dispatcher = NonNullable<ReturnType<RequestContext["getDispatcher"]>>;
type Method = keyof typeof HttpMethod;

interface Sent {
  readonly method: Method;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: object;
  readonly contentType?: string;
  readonly signal: AbortSignal;
}

/** An event of a watch. An error of the server's comes as "ERROR" with a Status as its object. */
export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: KubeObject;
}

/** A watch that is to be made. */
export interface WatchRequest {
  readonly query: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onOpen: () => void;
  readonly onEvent: (event: WatchEvent) => void;
}

/**
 * The Kubernetes API over the credentials of client-node. The library's own clients make a connection of every request,
 * take no signal, and turn every answer into objects of classes; this one does what Berth needs with plain JSON.
 * Rejects with KubeError when the server answers otherwise than with success, with UNAVAILABLE when it does not answer,
 * and with the signal's reason when that is aborted.
 */
export class KubeClient {
  readonly #config: KubeConfig;
  readonly #http = new IsomorphicFetchHttpLibrary();
  readonly #limitMs: number;
  #dispatcher: Dispatcher | undefined;

  constructor(config: KubeConfig, { limitMs = REQUEST_LIMIT_MS } = {}) {
    this.#config = config;
    this.#limitMs = limitMs;
  }

  /** "https://10.96.0.1:443", for messages. */
  get server(): string {
    return this.#config.getCurrentCluster()?.server ?? "";
  }

  /** Any object by its path. */
  async read<T extends KubeObject>(path: string, signal: AbortSignal): Promise<T> {
    return await this.#json<T>({ method: "GET", path, signal });
  }

  /** All objects of a kind that a selector matches, from a consistent list. */
  async list<T extends KubeObject>(
    path: string,
    labelSelector: string,
    signal: AbortSignal,
  ): Promise<{ readonly items: readonly T[]; readonly resourceVersion: string }> {
    const items: T[] = [];
    let next = "";
    for (;;) {
      const query = { labelSelector, limit: String(PAGE), ...(next && { continue: next }) };
      const page = await this.#json<KubeList<T>>({ method: "GET", path, query, signal });
      items.push(...(page.items ?? []));
      next = page.metadata?.continue ?? "";
      if (next === "") return { items, resourceVersion: page.metadata?.resourceVersion ?? "" };
    }
  }

  /** Asks for nothing but an answer that comes from the store, not from a cache. */
  async look(path: string, labelSelector: string, signal: AbortSignal): Promise<void> {
    await this.#json({ method: "GET", path, query: { labelSelector, limit: "1" }, signal });
  }

  async create<T extends KubeObject>(path: string, body: object, signal: AbortSignal): Promise<T> {
    const query = { fieldManager: FIELD_MANAGER };
    return await this.#json<T>({ method: "POST", path, query, body, signal });
  }

  async replace<T extends KubeObject>(path: string, body: object, signal: AbortSignal): Promise<T> {
    const query = { fieldManager: FIELD_MANAGER };
    return await this.#json<T>({ method: "PUT", path, query, body, signal });
  }

  /** Server-side apply, forced; the body's uid says which object is meant, so that no other one is changed. */
  async apply<T extends KubeObject>(path: string, body: object, signal: AbortSignal): Promise<T> {
    return await this.#json<T>({
      ...{ method: "PATCH", path, body, signal },
      query: { fieldManager: FIELD_MANAGER, force: "true" },
      contentType: "application/apply-patch+yaml",
    });
  }

  /** Asks for an object's end, and for that of what it owns before it. It may be there for long after that. */
  async remove(path: string, uid: string, signal: AbortSignal): Promise<void> {
    const body = {
      ...{ apiVersion: "v1", kind: "DeleteOptions" },
      ...{ propagationPolicy: "Foreground", preconditions: { uid } },
    };
    await this.#json({ method: "DELETE", path, body, signal });
  }

  /** Resolves when the server ends the watch. */
  async watch(
    resource: KubeResource,
    namespace: string | undefined,
    request: WatchRequest,
  ): Promise<void> {
    const { signal, onOpen, onEvent } = request;
    const query = { ...request.query, watch: "true" };
    const path = pathOf(resource, namespace);
    try {
      // The signal is the limit: a watch answers when there is something to tell.
      const response = await this.#send({ method: "GET", path, query, signal });
      if (response.httpStatusCode !== 200) throw await errorIn(response);
      onOpen();
      await eachLine(response, (line) => onEvent(JSON.parse(line) as WatchEvent));
    } catch (thrown) {
      throw this.#failure(thrown, signal);
    }
  }

  /** Cuts off what is under way. */
  async close(): Promise<void> {
    const dispatcher = this.#dispatcher;
    this.#dispatcher = undefined;
    await dispatcher?.destroy();
  }

  async #json<T>({ signal, ...request }: Sent): Promise<T> {
    const limit = AbortSignal.timeout(this.#limitMs);
    try {
      const response = await this.#send({ ...request, signal: AbortSignal.any([signal, limit]) });
      if (response.httpStatusCode >= 300) throw await errorIn(response);
      return JSON.parse(await response.body.text()) as T;
    } catch (thrown) {
      throw this.#failure(thrown, signal);
    }
  }

  async #send({ method, path, query = {}, body, contentType, signal }: Sent) {
    signal.throwIfAborted();
    const url = new URL(this.server + path);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const context = new RequestContext(url.href, HttpMethod[method]);
    await this.#config.applySecurityAuthentication(context);
    // The library makes a dispatcher, and so a connection, of every request.
    this.#dispatcher ??= http1(context.getDispatcher());
    if (this.#dispatcher !== undefined) context.setDispatcher(this.#dispatcher);
    context.setHeaderParam("accept", "application/json");
    if (body !== undefined) {
      context.setHeaderParam("content-type", contentType ?? "application/json");
      context.setBody(JSON.stringify(body));
    }
    context.setSignal(signal);
    return await this.#http.send(context).toPromise();
  }

  #failure(thrown: unknown, signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason;
    if (thrown instanceof Error && thrown.name === "KubeError") return thrown;
    // Its certificates may be others by now.
    void this.#dispatcher?.close().catch(() => undefined);
    this.#dispatcher = undefined;
    const why = whyOf(thrown, this.#limitMs);
    return new BerthError("UNAVAILABLE", `the Kubernetes API at ${this.server} ${why}`, {
      cause: thrown,
    });
  }
}

/**
 * Requests of a dispatcher by HTTP/1.1. undici 8 speaks HTTP/2 to a server that offers it, and has been seen to spin without
 * an end on a server that did not answer for a while.
 */
function http1(dispatcher: Dispatcher | undefined): Dispatcher | undefined {
  return dispatcher?.compose((dispatch) => (options, handler) => {
    // The types of the library do not know the option yet.
    const http1Options: typeof options & { readonly allowH2: false } = {
      ...options,
      allowH2: false,
    };
    return dispatch(http1Options, handler);
  });
}

async function errorIn(response: ResponseContext) {
  const text = await response.body.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    body = { message: text.slice(0, 300) };
  }
  return kubeErrorOf(body, response.httpStatusCode);
}

async function eachLine(response: ResponseContext, take: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body.stream() ?? []) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE_CHARACTERS) throw new Error("a line of a watch is too long");
    for (const line of lines) if (line !== "") take(line);
  }
}

function whyOf(thrown: unknown, limitMs: number): string {
  if (thrown instanceof DOMException && thrown.name === "TimeoutError") {
    return `did not answer in ${limitMs} ms`;
  }
  if (!(thrown instanceof Error)) return `does not answer: ${String(thrown)}`;
  const { cause } = thrown;
  const message = cause instanceof Error && cause.message !== "" ? cause.message : thrown.message;
  const code = cause instanceof Error && "code" in cause ? ` (${String(cause.code)})` : "";
  return `does not answer: ${message}${code}`;
}
