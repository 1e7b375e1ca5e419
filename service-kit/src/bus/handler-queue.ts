import type { Logger } from "../log.ts";
import type { BusHandler, BusMessage, BusSubscription } from "./bus.ts";
import { atMost, handOver, type RetryRules } from "./hand-over.ts";

/** How much may wait in one subscription. */
export interface QueueLimits {
  readonly messages: number;
  readonly bytes: number;
}

/** 10,000 messages and 64 MiB. */
export const QUEUE_LIMITS: QueueLimits = { messages: 10_000, bytes: 64 * 1024 * 1024 };

/** Longest wait for a running handler at the end, in ms. */
export const STOP_MS = 5_000;

/** What a {@link HandlerQueue} is made of. */
export interface HandlerQueueOptions {
  readonly handler: BusHandler;
  readonly logger: Logger;
  readonly rules: RetryRules;
  readonly limits: QueueLimits;
  /** Most messages that are handled side by side; 1 by default. */
  readonly atOnce?: number | undefined;
}

interface Waiting {
  readonly message: BusMessage;
  readonly bytes: number;
}

/** Messages that wait for one handler, which gets them in their order, one at a time unless it wants more. Bounded. */
export class HandlerQueue implements BusSubscription {
  readonly #options: HandlerQueueOptions;
  readonly #stopped = new AbortController();
  #waiting: Waiting[] = [];
  /** Position of the next one; those before it are under way or gone. */
  #next = 0;
  #underWay = 0;
  /** Of those that wait and those that are under way. */
  #bytes = 0;
  /** Lanes that will look for a message once more. */
  #open = 0;
  readonly #lanes = new Set<Promise<void>>();

  constructor(options: HandlerQueueOptions) {
    this.#options = options;
  }

  /** Whether a text of so many bytes finds room. The messages that are being handled count. */
  hasRoom(bytes: number): boolean {
    const { limits } = this.#options;
    const messages = this.#waiting.length - this.#next + this.#underWay;
    return messages < limits.messages && this.#bytes + bytes <= limits.bytes;
  }

  /** Appends a message; the caller has asked {@link hasRoom}. The handler runs later, never within this call. */
  push(message: BusMessage, bytes: number): void {
    if (this.#stopped.signal.aborted) return;
    this.#waiting.push({ message, bytes });
    this.#bytes += bytes;
    if (this.#open >= (this.#options.atOnce ?? 1)) return;
    this.#open += 1;
    const lane: Promise<void> = this.#run().finally(() => this.#lanes.delete(lane));
    this.#lanes.add(lane);
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    if (this.#lanes.size > 0) await atMost(STOP_MS, Promise.all(this.#lanes));
  }

  async #run(): Promise<void> {
    await Promise.resolve();
    const { signal } = this.#stopped;
    for (let first = this.#take(); first !== undefined; first = this.#take()) {
      await handOver({ ...this.#options, message: first.message, signal });
      this.#underWay -= 1;
      this.#bytes -= first.bytes;
    }
    this.#open -= 1;
    if (signal.aborted) this.#waiting = [];
  }

  #take(): Waiting | undefined {
    if (this.#stopped.signal.aborted) return undefined;
    const first = this.#waiting[this.#next];
    if (first === undefined) return undefined;
    this.#next += 1;
    this.#underWay += 1;
    // Cutting off only now and then keeps a long queue from being copied for each message.
    if (this.#next >= 1_000 || this.#next >= this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#next);
      this.#next = 0;
    }
    return first;
  }
}
