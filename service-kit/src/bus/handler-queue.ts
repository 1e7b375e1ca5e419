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
}

interface Waiting {
  readonly message: BusMessage;
  readonly bytes: number;
}

/** Messages that wait for one handler, which gets them one after the other. Bounded. */
export class HandlerQueue implements BusSubscription {
  readonly #options: HandlerQueueOptions;
  readonly #stopped = new AbortController();
  #waiting: Waiting[] = [];
  /** Position of the next one; those before it are gone. */
  #next = 0;
  #bytes = 0;
  #running: Promise<void> | undefined;

  constructor(options: HandlerQueueOptions) {
    this.#options = options;
  }

  /** Whether a text of so many bytes finds room. The message that is being handled counts. */
  hasRoom(bytes: number): boolean {
    const { limits } = this.#options;
    const messages = this.#waiting.length - this.#next;
    return messages < limits.messages && this.#bytes + bytes <= limits.bytes;
  }

  /** Appends a message; the caller has asked {@link hasRoom}. The handler runs later, never within this call. */
  push(message: BusMessage, bytes: number): void {
    if (this.#stopped.signal.aborted) return;
    this.#waiting.push({ message, bytes });
    this.#bytes += bytes;
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    if (this.#running !== undefined) await atMost(STOP_MS, this.#running);
  }

  async #run(): Promise<void> {
    await Promise.resolve();
    const { signal } = this.#stopped;
    for (let first = this.#take(); first !== undefined; first = this.#take()) {
      await handOver({ ...this.#options, message: first.message, signal });
      if (signal.aborted) break;
      this.#drop(first);
    }
    if (signal.aborted) this.#waiting = [];
    this.#running = undefined;
  }

  #take(): Waiting | undefined {
    return this.#stopped.signal.aborted ? undefined : this.#waiting[this.#next];
  }

  #drop(first: Waiting): void {
    this.#next += 1;
    this.#bytes -= first.bytes;
    // Cutting off only now and then keeps a long queue from being copied for each message.
    if (this.#next < 1_000 && this.#next < this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#next);
    this.#next = 0;
  }
}
