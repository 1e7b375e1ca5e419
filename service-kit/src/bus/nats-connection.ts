import type { NatsConnection } from "nats";
import { backoffMs } from "../backoff.ts";
import { sleep } from "../clock.ts";
import { BerthError } from "../errors.ts";
import type { Logger } from "../log.ts";
import {
  isNotThere,
  type JetStream,
  openStream,
  type StreamOutcome,
  type StreamPlan,
  textOf,
} from "./nats-stream.ts";
import { redactUrl, withoutSecrets } from "./redact-url.ts";

const CONNECT_MS = 3_000;
const STREAM_BACKOFF = { firstMs: 2_000, capMs: 60_000 };
const BACKOFF = { firstMs: 250, capMs: 5_000 };

/** A connection that stands, and JetStream when it has it. Aborted `signal`: it is not used any more. */
export interface NatsSession {
  readonly connection: NatsConnection;
  readonly jetStream: JetStream | undefined;
  readonly signal: AbortSignal;
}

/** What a {@link NatsLink} is made of. */
export interface NatsLinkOptions {
  /** One or more URLs with commas between them. */
  readonly url: string;
  readonly name: string;
  readonly stream: StreamPlan;
  readonly logger: Logger;
}

/** Holds a connection to NATS for ever: it connects in the background and comes back by itself. */
export class NatsLink {
  readonly #options: NatsLinkOptions;
  readonly #closed = new AbortController();
  readonly #done: Promise<void>;
  #session: NatsSession | undefined;
  #isUp = false;
  #why: string | undefined = "no connection yet";
  #awaited = Promise.withResolvers<void>();

  constructor(options: NatsLinkOptions) {
    this.#options = options;
    this.#done = this.#run();
  }

  get isConnected(): boolean {
    return this.#isUp;
  }

  /** What is missing, without secrets. */
  get why(): string | undefined {
    return this.#why;
  }

  /** The session when there is one. */
  get session(): NatsSession | undefined {
    return this.#session;
  }

  /** The session, as soon as there is one; undefined when the signal is aborted or the link closed first. */
  async untilSession(signal: AbortSignal): Promise<NatsSession | undefined> {
    const end = AbortSignal.any([signal, this.#closed.signal]);
    while (this.#session === undefined && !end.aborted) {
      const ended = new AbortController();
      const either = AbortSignal.any([end, ended.signal]);
      await Promise.race([this.#awaited.promise, aborted(either)]);
      ended.abort();
    }
    return end.aborted ? undefined : this.#session;
  }

  /** Ends the connection. May be called again. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#session?.connection.close().catch(() => undefined);
    await this.#done;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#closed.signal.aborted; ) {
      try {
        const connection = await this.#connect();
        failures = 0;
        await this.#serve(connection);
      } catch (thrown) {
        failures += 1;
        this.#down(textOf(thrown));
      }
      await sleep(backoffMs(Math.max(1, failures), BACKOFF), this.#closed.signal);
    }
  }

  async #connect(): Promise<NatsConnection> {
    const { connect } = await import("nats");
    const { servers, ...credentials } = serversOf(this.#options.url);
    let tries = 0;
    return await connect({
      servers,
      ...credentials,
      name: this.#options.name,
      timeout: CONNECT_MS,
      reconnect: true,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      reconnectDelayHandler: () => {
        tries = this.#isUp ? 1 : tries + 1;
        return backoffMs(tries, BACKOFF);
      },
      pingInterval: 10_000,
      maxPingOut: 2,
    });
  }

  async #serve(connection: NatsConnection): Promise<void> {
    const over = new AbortController();
    let session = this.#begin(connection, await this.#openStream(connection));
    let renewing: Promise<void> | undefined;
    // A stream once had is waited for: a server that starts may need a while to offer it, or has lost it and gets it anew.
    const renew = async () => {
      const isGone = await this.#isStreamGone();
      const outcome = await this.#openStream(connection);
      if (outcome.kind === "missing") return this.#up(outcome.why);
      if (!isGone) return this.#up(undefined);
      session.abort();
      session = this.#begin(connection, outcome);
    };
    const renewOnce = () => {
      renewing ??= renew().finally(() => {
        renewing = undefined;
      });
      return renewing;
    };
    const watch = (async () => {
      for await (const { type } of connection.status()) {
        if (type === "disconnect") this.#down("the server is away");
        if (type === "reconnect") await renewOnce();
      }
    })();
    void this.#retryStream(connection, { signal: over.signal, renewOnce });
    await Promise.race([connection.closed(), watch]);
    over.abort();
    await connection.close();
    await renewing;
    session.abort();
    this.#session = undefined;
    this.#down("the connection was closed");
  }

  /** Tries again for a stream that cannot be used on a server that has JetStream, or is gone from it, until the signal is aborted. */
  async #retryStream(
    connection: NatsConnection,
    { signal, renewOnce }: { readonly signal: AbortSignal; renewOnce(): Promise<void> },
  ): Promise<void> {
    for (let tries = 1; !signal.aborted; tries += 1) {
      await sleep(backoffMs(tries, STREAM_BACKOFF), signal);
      if (signal.aborted || connection.info?.jetstream !== true || !this.#isUp) continue;
      const isMissing = this.#why !== undefined || (await this.#isStreamGone());
      if (isMissing) await renewOnce();
      else tries = 1;
    }
  }

  async #isStreamGone(): Promise<boolean> {
    const { jetStream } = this.#session ?? {};
    if (jetStream === undefined) return true;
    return jetStream.manager.streams.info(jetStream.stream.name).then(
      () => false,
      (thrown) => isNotThere(thrown),
    );
  }

  #openStream(connection: NatsConnection): Promise<StreamOutcome> {
    return openStream(connection, this.#options.stream, this.#options.logger);
  }

  #begin(
    connection: NatsConnection,
    outcome: StreamOutcome,
  ): { readonly end: NatsSession; abort(): void } {
    const ended = new AbortController();
    const jetStream = outcome.kind === "ready" ? outcome.jetStream : undefined;
    const end = { connection, jetStream, signal: ended.signal };
    if (this.#closed.signal.aborted) void connection.close().catch(() => undefined);
    else {
      this.#session = end;
      this.#up(outcome.kind === "missing" ? outcome.why : undefined);
    }
    return { end, abort: () => ended.abort() };
  }

  #up(why: string | undefined): void {
    this.#isUp = true;
    const isNew = why !== this.#why;
    this.#why = why;
    const server = redactUrl(this.#options.url);
    if (isNew && why !== undefined) this.#options.logger.warn("NATS keeps nothing", { why });
    else if (isNew) this.#options.logger.info("connected to NATS", { server });
    this.#awaited.resolve();
    this.#awaited = Promise.withResolvers<void>();
  }

  #down(why: string): void {
    const clean = withoutSecrets(why, this.#options.url);
    const isNew = this.#isUp || this.#why !== clean;
    this.#isUp = false;
    this.#why = clean;
    const server = redactUrl(this.#options.url);
    if (isNew && !this.#closed.signal.aborted) {
      this.#options.logger.warn("no connection to NATS", { server, why: clean });
    }
  }
}

/** Resolves when the signal is aborted. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

interface Servers {
  readonly servers: string[];
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
  readonly tls?: Record<string, never>;
}

/** The client takes credentials apart from the servers; those of the first URL that has some go to all. */
export function serversOf(list: string): Servers {
  const urls = list.split(",").map((one) => parsed(one.trim()));
  const servers = urls.map((url) => `${url.hostname}:${url.port === "" ? "4222" : url.port}`);
  const owner = urls.find((url) => url.username !== "");
  const tls = urls.some((url) => url.protocol === "tls:") ? { tls: {} } : {};
  if (owner === undefined) return { servers, ...tls };
  const user = decodeURIComponent(owner.username);
  if (owner.password === "") return { servers, token: user, ...tls };
  return { servers, user, pass: decodeURIComponent(owner.password), ...tls };
}

function parsed(one: string): URL {
  const text = one.includes("://") ? one : `nats://${one}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^(nats|tls):$/.test(url.protocol) && url.hostname !== "") return url;
  throw new BerthError(
    "INVALID_ARGUMENT",
    `the NATS URL must be like nats://host:4222, but is ${redactUrl(one)}`,
  );
}
