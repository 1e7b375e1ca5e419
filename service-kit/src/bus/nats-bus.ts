import { BerthError, isBerthError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Bus, BusStatus, BusSubscription, OutgoingMessage, SubscribeOptions } from "./bus.ts";
import { atMost, RETRY_RULES, type RetryRules } from "./hand-over.ts";
import { HandlerQueue, QUEUE_LIMITS, STOP_MS } from "./handler-queue.ts";
import { NatsLink, type NatsSession, serversOf } from "./nats-connection.ts";
import { StreamReader } from "./nats-consumer.ts";
import { isTooLarge, type StreamPlan, textOf } from "./nats-stream.ts";
import { withoutSecrets } from "./redact-url.ts";
import { checkOutgoing, checkSubscription, covers } from "./subjects.ts";

const DEADLINE_MS = 5_000;

/** What a {@link NatsBus} is made of. */
export interface NatsBusOptions {
  /** One or more `nats://` or `tls://` URLs with commas between them; user:password or token within. */
  readonly url: string;
  /** Name of the connection, which the server shows. */
  readonly name: string;
  readonly stream: StreamPlan;
  readonly logger: Logger;
  readonly retry?: RetryRules;
}

/**
 * A bus over NATS: over JetStream where the server has it, else over plain subjects, which keep nothing for those
 * who are away. Throws INVALID_ARGUMENT for a wrong URL; a server that is away is waited for.
 */
export class NatsBus implements Bus {
  readonly #options: NatsBusOptions;
  readonly #link: NatsLink;
  readonly #subscriptions = new Set<BusSubscription>();
  #messagesUnderWay = 0;
  #bytesUnderWay = 0;
  #isClosed = false;

  constructor(options: NatsBusOptions) {
    serversOf(options.url);
    this.#options = options;
    this.#link = new NatsLink(options);
  }

  get status(): BusStatus {
    const why = this.#isClosed ? "the bus is closed" : this.#link.why;
    const isConnected = this.#link.isConnected && !this.#isClosed;
    return { driver: "nats", isConnected, ...(why === undefined ? {} : { why }) };
  }

  async publish(message: OutgoingMessage, signal?: AbortSignal): Promise<void> {
    const bytes = checkOutgoing(message);
    this.#checkOpen();
    const isFull =
      this.#messagesUnderWay >= QUEUE_LIMITS.messages ||
      this.#bytesUnderWay + bytes > QUEUE_LIMITS.bytes;
    if (isFull) {
      throw new BerthError("OVERLOADED", "publish must have room, but too many are under way");
    }
    this.#messagesUnderWay += 1;
    this.#bytesUnderWay += bytes;
    try {
      await this.#within(signal, (end) => this.#send(message, end));
    } finally {
      this.#messagesUnderWay -= 1;
      this.#bytesUnderWay -= bytes;
    }
  }

  async subscribe(options: SubscribeOptions): Promise<BusSubscription> {
    checkSubscription(options);
    this.#checkOpen();
    const stopped = new AbortController();
    const listening = Promise.withResolvers<void>();
    const running = this.#follow(options, stopped.signal, listening.resolve);
    const subscription = {
      stop: async () => {
        stopped.abort();
        this.#subscriptions.delete(subscription);
        await atMost(STOP_MS, running);
      },
    };
    this.#subscriptions.add(subscription);
    await atMost(DEADLINE_MS, listening.promise);
    return subscription;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#subscriptions].map((one) => one.stop()));
    await this.#link.close();
  }

  async #send(message: OutgoingMessage, end: AbortSignal): Promise<void> {
    // Without a pause when the server is there: messages leave in the order of the calls.
    const session = this.#link.session ?? (await this.#link.untilSession(end));
    if (session === undefined || end.aborted) return;
    const { subject, text, id } = message;
    if (session.jetStream !== undefined && this.#isKept(subject)) {
      const options = { timeout: DEADLINE_MS, retries: 1 };
      const named = id === undefined ? options : { ...options, msgID: id };
      await session.jetStream.client.publish(subject, text, named);
      return;
    }
    if (!this.#link.isConnected) throw new Error("the server is away");
    session.connection.publish(subject, text);
    await session.connection.flush();
  }

  /** Runs a subscription over all sessions, until the signal is aborted. Never rejects. */
  async #follow(
    options: SubscribeOptions,
    signal: AbortSignal,
    listening: () => void,
  ): Promise<void> {
    const { logger, retry: rules = RETRY_RULES } = this.#options;
    const reader = new StreamReader({ subscription: options, logger, rules });
    while (!signal.aborted) {
      const session = await this.#link.untilSession(signal);
      if (session === undefined) return;
      const end = AbortSignal.any([signal, session.signal]);
      if (session.jetStream !== undefined && this.#isKept(options.subject)) {
        await reader.open(session.jetStream).then(listening, () => undefined);
        await reader.read(session.jetStream, end);
        if (signal.aborted) await reader.forget(session.jetStream);
      } else {
        await this.#listenPlainly(options, session, end, listening);
      }
    }
  }

  async #listenPlainly(
    options: SubscribeOptions,
    { connection }: NatsSession,
    end: AbortSignal,
    listening: () => void,
  ): Promise<void> {
    const { logger, retry: rules = RETRY_RULES } = this.#options;
    const queue = new HandlerQueue({
      handler: options.handler,
      logger,
      rules,
      limits: QUEUE_LIMITS,
      atOnce: options.atOnce,
    });
    const ended = Promise.withResolvers<void>();
    end.addEventListener("abort", () => ended.resolve(), { once: true });
    if (end.aborted) return;
    const subscription = connection.subscribe(options.subject, {
      callback: (error, message) => {
        if (error !== null)
          return logger.warn("NATS refused a subscription", { why: textOf(error) });
        const { subject, data } = message;
        if (queue.hasRoom(data.length)) {
          queue.push({ subject, text: message.string(), redeliveries: 0 }, data.length);
        } else
          logger.error("a message was dropped: the queue of its subscriber is full", { subject });
      },
    });
    await connection.flush().then(listening, () => undefined);
    await ended.promise;
    if (!connection.isClosed()) subscription.unsubscribe();
    await queue.stop();
  }

  async #within(
    signal: AbortSignal | undefined,
    work: (end: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const done = new AbortController();
    const deadline = AbortSignal.timeout(DEADLINE_MS);
    const end = AbortSignal.any([done.signal, deadline, ...(signal === undefined ? [] : [signal])]);
    const calledOff = Promise.withResolvers<void>();
    end.addEventListener("abort", () => calledOff.resolve(), { once: true });
    try {
      if (!end.aborted) await Promise.race([work(end), calledOff.promise]);
    } catch (thrown) {
      if (isBerthError(thrown)) throw thrown;
      if (isTooLarge(thrown)) {
        const message =
          "text: longer than the NATS server takes, by its max_payload or the stream's";
        throw new BerthError("PAYLOAD_TOO_LARGE", message);
      }
      const why = withoutSecrets(textOf(thrown), this.#options.url);
      throw new BerthError("UNAVAILABLE", `NATS must take the message, but did not: ${why}`);
    } finally {
      if (!end.aborted) done.abort();
    }
    if (signal?.aborted) throw new BerthError("CANCELED", "publish was called off by its caller");
    if (deadline.aborted || this.#isClosed) {
      throw new BerthError("UNAVAILABLE", `NATS must take the message within ${DEADLINE_MS} ms`);
    }
  }

  #isKept(subject: string): boolean {
    return this.#options.stream.subjects.some((kept) => covers(kept, subject));
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new BerthError("UNAVAILABLE", "the bus must be open, but is closed");
  }
}
