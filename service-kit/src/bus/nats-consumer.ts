import { createHash } from "node:crypto";
import type { Consumer, ConsumerConfig, ConsumerInfo, JsMsg } from "nats";
import { backoffMs } from "../backoff.ts";
import { sleep } from "../clock.ts";
import type { Logger } from "../log.ts";
import type { SubscribeOptions } from "./bus.ts";
import { handOver, type RetryRules } from "./hand-over.ts";
import { isNotThere, type JetStream, textOf } from "./nats-stream.ts";
import { SettledSequences } from "./settled-sequences.ts";

const ACK_WAIT_MS = 5_000;
const WORKING_EVERY_MS = 1_500;
const PULL_MS = 5_000;
const UNUSED_MS = 600_000;
const NS_PER_MS = 1e6;
const LOOK_EVERY = 1_000;
const BACKOFF = { firstMs: 200, capMs: 5_000 };

/** What {@link StreamReader} is made of. */
export interface StreamReaderOptions {
  readonly subscription: SubscribeOptions;
  readonly logger: Logger;
  readonly rules: RetryRules;
}

/**
 * Reads one subscription from a stream. No more messages are under way than it allows: with one, that alone keeps the order when the
 * server or the connection dies.
 */
export class StreamReader {
  readonly #options: StreamReaderOptions;
  /** Nothing that is settled is handed over again. */
  readonly #settled = new SettledSequences();
  #consumerName: string | undefined;
  /** When the stream was made of which {@link #settled} tells; ISO 8601. */
  #streamCreated: string | undefined;

  constructor(options: StreamReaderOptions) {
    this.#options = options;
  }

  /** Makes the consumer where it is missing. Rejects with what the server says. */
  async open(jetStream: JetStream): Promise<Consumer> {
    const { manager, stream } = jetStream;
    const { created } = await manager.streams.info(stream.name);
    // A stream that was made anew counts from 1 again.
    if (this.#streamCreated !== undefined && created !== this.#streamCreated) this.#settled.reset();
    this.#streamCreated = created;
    const found = await this.#find(jetStream);
    if (found !== undefined) return jetStream.client.consumers.getPullConsumerFor(found);
    const made = await manager.consumers.add(stream.name, this.#config());
    this.#consumerName = made.name;
    this.#settled.skip(made.delivered.stream_seq);
    return jetStream.client.consumers.getPullConsumerFor(made);
  }

  /** Reads until the signal is aborted. Never rejects. */
  async read(jetStream: JetStream, signal: AbortSignal): Promise<void> {
    const underWay = new Set<Promise<void>>();
    let failures = 0;
    let pulls = 0;
    let consumer: Consumer | undefined;
    while (!signal.aborted) {
      try {
        consumer ??= await this.open(jetStream);
        const message = await pulled(consumer.next({ expires: PULL_MS }), signal);
        // Messages begin one after the other, in their order; what is settled is told by that.
        if (message !== null) {
          const settling = this.#settle(message, signal).finally(() => underWay.delete(settling));
          underWay.add(settling);
        }
        failures = 0;
      } catch (thrown) {
        if (signal.aborted) break;
        consumer = undefined;
        failures += 1;
        const fields = { subject: this.#options.subscription.subject, why: textOf(thrown) };
        this.#options.logger.debug("a subscription waits for JetStream", fields);
        await sleep(backoffMs(failures, BACKOFF), signal);
      }
      if (underWay.size >= this.#atOnce) await Promise.race(underWay);
      pulls += 1;
      // A consumer that the server has lost answers with silence only.
      const isLooked = pulls % LOOK_EVERY === 0 && !signal.aborted;
      if (isLooked && consumer !== undefined) consumer = await still(consumer);
    }
    await Promise.all(underWay);
  }

  get #atOnce(): number {
    return this.#options.subscription.atOnce ?? 1;
  }

  /** Removes a consumer that nobody needs after the end. A durable one stays. */
  async forget(jetStream: JetStream): Promise<void> {
    if (this.#options.subscription.name !== undefined || this.#consumerName === undefined) return;
    await jetStream.manager.consumers
      .delete(jetStream.stream.name, this.#consumerName)
      .catch(() => undefined);
  }

  async #settle(message: JsMsg, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return message.nak();
    const begun = this.#settled.begin(message.seq);
    if (begun === "settled") return message.ack();
    // Its other copy is acknowledged before this one comes again, unless it fails.
    if (begun === "running") return message.nak(ACK_WAIT_MS);
    const beat = setInterval(() => message.working(), WORKING_EVERY_MS);
    let outcome: Awaited<ReturnType<typeof handOver>> = "stopped";
    try {
      const redeliveries = Math.max(0, message.info.deliveryCount - 1);
      const handed = { subject: message.subject, text: message.string(), redeliveries };
      const { subscription, logger, rules } = this.#options;
      const { handler } = subscription;
      outcome = await handOver({ message: handed, handler, logger, rules, signal });
    } finally {
      this.#settled.end(message.seq, outcome === "stopped" ? "unsettled" : "settled");
      clearInterval(beat);
    }
    if (outcome === "stopped") message.nak();
    else message.ack();
  }

  async #find({ manager, stream }: JetStream): Promise<ConsumerInfo | undefined> {
    const name = this.#durableName() ?? this.#consumerName;
    if (name === undefined) return undefined;
    try {
      const found = await manager.consumers.info(stream.name, name);
      this.#consumerName = name;
      const { subject } = this.#options.subscription;
      const wanted = { filter_subject: subject, max_ack_pending: this.#atOnce };
      const { filter_subject: has, max_ack_pending: most } = found.config;
      if (has === subject && most === this.#atOnce) return found;
      return await manager.consumers.update(stream.name, name, wanted);
    } catch (thrown) {
      if (isNotThere(thrown)) return undefined;
      throw thrown;
    }
  }

  #config(): Partial<ConsumerConfig> {
    const durable = this.#durableName();
    const from = this.#settled.upTo + 1;
    // Others may publish to a stream before this consumer is made: who keeps what comes while he is away gets that, too.
    const first = durable === undefined ? "new" : "all";
    // The driver's enums are values of the lazily loaded package; these are their texts.
    return {
      ...(durable === undefined
        ? { inactive_threshold: UNUSED_MS * NS_PER_MS }
        : { durable_name: durable }),
      filter_subject: this.#options.subscription.subject,
      ack_policy: "explicit" as ConsumerConfig["ack_policy"],
      ack_wait: ACK_WAIT_MS * NS_PER_MS,
      max_ack_pending: this.#atOnce,
      ...(from === 1
        ? { deliver_policy: first as ConsumerConfig["deliver_policy"] }
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

/** The consumer, when the server has it still. */
function still(consumer: Consumer): Promise<Consumer | undefined> {
  return consumer.info(false).then(
    () => consumer,
    () => undefined,
  );
}
