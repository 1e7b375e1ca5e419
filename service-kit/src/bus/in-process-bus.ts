import type { Clock } from "../clock.ts";
import { BerthError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Bus, BusStatus, BusSubscription, OutgoingMessage, SubscribeOptions } from "./bus.ts";
import { RETRY_RULES, type RetryRules } from "./hand-over.ts";
import { HandlerQueue, QUEUE_LIMITS, type QueueLimits } from "./handler-queue.ts";
import { RecentIds } from "./recent-ids.ts";
import { checkOutgoing, checkSubscription, covers } from "./subjects.ts";

/** What an {@link InProcessBus} is made of. */
export interface InProcessBusOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  readonly retry?: RetryRules;
  readonly limits?: QueueLimits;
}

/** A bus within one process: nothing outlives it, and a `name` makes nothing durable. */
export class InProcessBus implements Bus {
  readonly #options: InProcessBusOptions;
  readonly #ids: RecentIds;
  readonly #queues = new Map<HandlerQueue, string>();
  #isClosed = false;

  constructor(options: InProcessBusOptions) {
    this.#options = options;
    this.#ids = new RecentIds(options.clock);
  }

  get status(): BusStatus {
    return this.#isClosed
      ? { driver: "in_process", isConnected: false, why: "the bus is closed" }
      : { driver: "in_process", isConnected: true };
  }

  async publish(message: OutgoingMessage, signal?: AbortSignal): Promise<void> {
    const bytes = checkOutgoing(message);
    this.#checkOpen();
    if (signal?.aborted) throw new BerthError("CANCELED", "publish was called off by its caller");
    const { subject, text, id } = message;
    if (id !== undefined && this.#ids.has(id)) return;
    const queues = [...this.#queues].filter(([, pattern]) => covers(pattern, subject));
    const full = queues.find(([queue]) => !queue.hasRoom(bytes));
    if (full !== undefined) {
      throw new BerthError(
        "OVERLOADED",
        `the queue of the subscription to ${full[1]} must have room for a message, but is full`,
      );
    }
    for (const [queue] of queues) queue.push({ subject, text, redeliveries: 0 }, bytes);
    if (id !== undefined) this.#ids.add(id);
  }

  async subscribe(options: SubscribeOptions): Promise<BusSubscription> {
    checkSubscription(options);
    this.#checkOpen();
    const { logger, retry = RETRY_RULES, limits = QUEUE_LIMITS } = this.#options;
    const { handler, atOnce } = options;
    const queue = new HandlerQueue({ handler, logger, rules: retry, limits, atOnce });
    this.#queues.set(queue, options.subject);
    return {
      stop: async () => {
        this.#queues.delete(queue);
        await queue.stop();
      },
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const queues = [...this.#queues.keys()];
    this.#queues.clear();
    await Promise.all(queues.map((queue) => queue.stop()));
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new BerthError("UNAVAILABLE", "the bus must be open, but is closed");
  }
}
