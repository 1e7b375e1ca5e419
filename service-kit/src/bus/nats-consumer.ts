import { createHash } from "node:crypto";
import type { Consumer, ConsumerConfig, ConsumerInfo, JsMsg } from "nats";
import { backoffMs } from "../backoff.ts";
import { sleep } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { SubscribeOptions } from "./bus.ts";
import { handOver, type RetryRules } from "./hand-over.ts";
import { isNotThere, type JetStream, textOf } from "./nats-stream.ts";

const ACK_WAIT_MS = 5_000;
const WORKING_EVERY_MS = 1_500;
const PULL_MS = 5_000;
const UNUSED_MS = 600_000;
const NS_PER_MS = 1e6;
const BACKOFF = { firstMs: 200, capMs: 5_000 };

/** What {@link StreamReader} is made of. */
export interface StreamReaderOptions {
  readonly subscription: SubscribeOptions;
  readonly logger: Logger;
  readonly rules: RetryRules;
}

/**
 * Reads one subscription from a stream. One message at most is under way: that alone keeps the order when the
 * server or the connection dies.
 */
export class StreamReader {
  readonly #options: StreamReaderOptions;
  /** Last message of the stream that was settled; nothing up to it is handed over again. */
  #lastSeq = 0;
  #consumerName: string | undefined;

  constructor(options: StreamReaderOptions) {
    this.#options = options;
  }

  /** Makes the consumer where it is missing. Rejects with what the server says. */
  async open(jetStream: JetStream): Promise<Consumer> {
    const { manager, stream } = jetStream;
    const found = await this.#find(jetStream);
    if (found !== undefined) return jetStream.client.consumers.getPullConsumerFor(found);
    const kept = (await manager.streams.info(stream.name)).state;
    // A stream that was made anew counts from 1 again.
    if (kept.last_seq < this.#lastSeq) this.#lastSeq = 0;
    const made = await manager.consumers.add(stream.name, this.#config());
    this.#consumerName = made.name;
    this.#lastSeq = Math.max(this.#lastSeq, made.delivered.stream_seq);
    return jetStream.client.consumers.getPullConsumerFor(made);
  }

  /** Reads until the signal is aborted. Never rejects. */
  async read(jetStream: JetStream, signal: AbortSignal): Promise<void> {
    let failures = 0;
    let consumer: Consumer | undefined;
    while (!signal.aborted) {
      try {
        consumer ??= await this.open(jetStream);
        const message = await pulled(consumer.next({ expires: PULL_MS }), signal);
        if (message !== null) await this.#settle(message, signal);
        failures = 0;
      } catch (thrown) {
        if (signal.aborted) return;
        consumer = undefined;
        failures += 1;
        const fields = { subject: this.#options.subscription.subject, why: textOf(thrown) };
        this.#options.logger.debug("a subscription waits for JetStream", fields);
        await sleep(backoffMs(failures, BACKOFF), signal);
      }
      // A consumer that the server has lost answers with silence only.
      if (consumer !== undefined && !signal.aborted) consumer = await this.#still(consumer);
    }
  }

  /** Removes a consumer that nobody needs after the end. A durable one stays. */
  async forget(jetStream: JetStream): Promise<void> {
    if (this.#options.subscription.name !== undefined || this.#consumerName === undefined) return;
    await jetStream.manager.consumers
      .delete(jetStream.stream.name, this.#consumerName)
      .catch(() => undefined);
  }

  #pulls = 0;
  async #still(consumer: Consumer): Promise<Consumer | undefined> {
    this.#pulls += 1;
    if (this.#pulls % 1_000 !== 0) return consumer;
    return await consumer.info(false).then(
      () => consumer,
      () => undefined,
    );
  }

  async #settle(message: JsMsg, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return message.nak();
    if (message.seq <= this.#lastSeq) return message.ack();
    const beat = setInterval(() => message.working(), WORKING_EVERY_MS);
    try {
      const redeliveries = Math.max(0, message.info.deliveryCount - 1);
      const handed = { subject: message.subject, text: message.string(), redeliveries };
      const { subscription, logger, rules } = this.#options;
      const outcome = await handOver({
        message: handed,
        handler: subscription.handler,
        logger,
        rules,
        signal,
      });
      if (outcome === "stopped") return message.nak();
      this.#lastSeq = message.seq;
      message.ack();
    } finally {
      clearInterval(beat);
    }
  }

  async #find({ manager, stream }: JetStream): Promise<ConsumerInfo | undefined> {
    const name = this.#durableName() ?? this.#consumerName;
    if (name === undefined) return undefined;
    try {
      const found = await manager.consumers.info(stream.name, name);
      this.#consumerName = name;
      const { subject } = this.#options.subscription;
      if (found.config.filter_subject === subject) return found;
      return await manager.consumers.update(stream.name, name, { filter_subject: subject });
    } catch (thrown) {
      if (isNotThere(thrown)) return undefined;
      throw thrown;
    }
  }

  #config(): Partial<ConsumerConfig> {
    const durable = this.#durableName();
    const from = this.#lastSeq + 1;
    // The driver's enums are values of the lazily loaded package; these are their texts.
    return {
      ...(durable === undefined
        ? { inactive_threshold: UNUSED_MS * NS_PER_MS }
        : { durable_name: durable }),
      filter_subject: this.#options.subscription.subject,
      ack_policy: "explicit" as ConsumerConfig["ack_policy"],
      ack_wait: ACK_WAIT_MS * NS_PER_MS,
      max_ack_pending: 1,
      ...(from === 1
        ? { deliver_policy: "new" as ConsumerConfig["deliver_policy"] }
        : {
            deliver_policy: "by_start_sequence" as ConsumerConfig["deliver_policy"],
            opt_start_seq: from,
          }),
    };
  }

  #durableName(): string | undefined {
    const { name } = this.#options.subscription;
    if (name === undefined) return undefined;
    const readable = name.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 100);
    return `${readable}-${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
  }
}

/** What was pulled; null at once when the signal is aborted: a message that comes later goes back. */
async function pulled(pull: Promise<JsMsg | null>, signal: AbortSignal): Promise<JsMsg | null> {
  const ended = Promise.withResolvers<null>();
  const end = () => ended.resolve(null);
  signal.addEventListener("abort", end, { once: true });
  const first = signal.aborted ? null : await Promise.race([pull, ended.promise]);
  signal.removeEventListener("abort", end);
  if (first === null && signal.aborted) {
    pull.then(
      (late) => late?.nak(),
      () => undefined,
    );
  }
  return first;
}
