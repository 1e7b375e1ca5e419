import {
  type Bus,
  backoffMs,
  isBerthError,
  type Logger,
  type Part,
  type Reason,
  sleep,
} from "@berth/service-kit";
import type { OrgTransactions } from "../../org/store/org-transactions.ts";

import type { ScaleBook } from "./scale-book.ts";
import { type BusText, shortened } from "./scale-messages.ts";

/** What {@link Outbox} works with. */
export interface OutboxDeps {
  readonly scale: ScaleBook;
  readonly transactions: OrgTransactions;
  readonly bus: Pick<Bus, "publish">;
  readonly logger: Logger;
}

const BACKOFF = { firstMs: 100, capMs: 10_000 } as const;
/** Messages that are forgotten in one transaction when they were sent. */
const BATCH = 100;
const NEVER_TAKEN: readonly Reason[] = ["INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE"];

/**
 * Sends what transactions have left to send, in their order, each until the bus has taken it. One that was sent and is not
 * forgotten yet when the program ends is sent again, under the same id.
 */
export class Outbox implements Part {
  readonly name = "outbox";
  readonly #deps: OutboxDeps;
  readonly #stop = new AbortController();
  #sending: Promise<void> | undefined;
  #isWoken = false;
  #end: (() => void) | undefined;

  constructor(deps: OutboxDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    this.#end = this.#deps.scale.onOutbox(() => this.#wake());
    this.#wake();
  }

  async stop(): Promise<void> {
    this.#end?.();
    this.#stop.abort();
    await this.#sending;
  }

  #wake(): void {
    this.#isWoken = true;
    if (this.#sending !== undefined || this.#stop.signal.aborted) return;
    this.#sending = this.#sendAll().finally(() => {
      this.#sending = undefined;
      if (this.#isWoken) this.#wake();
    });
  }

  /**
   * What is too long for the bus goes with what counts alone, and what the bus never takes is dropped: nothing behind it would ever
   * leave.
   */
  async #send(message: BusText): Promise<void> {
    try {
      await this.#deps.bus.publish(message, this.#stop.signal);
    } catch (thrown) {
      if (!isBerthError(thrown) || !NEVER_TAKEN.includes(thrown.reason)) throw thrown;
      const short = shortened(message);
      if (thrown.reason === "PAYLOAD_TOO_LARGE" && short.text.length < message.text.length) {
        return this.#send(short);
      }
      const subject = message.subject.slice(0, 300);
      this.#deps.logger.error("a message cannot be sent, and is dropped", { subject, err: thrown });
    }
  }

  async #sendAll(): Promise<void> {
    this.#isWoken = false;
    const { scale, transactions, logger } = this.#deps;
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const due = scale.outbox().slice(0, BATCH);
      if (due.length === 0) return;
      const sent: string[] = [];
      try {
        for (const [id, message] of due) {
          await this.#send(message);
          sent.push(id);
        }
        failures = 0;
      } catch (err) {
        if (failures === 0 && !this.#stop.signal.aborted) {
          logger.warn("the bus takes no messages; they are kept", { waiting: due.length, err });
        }
        failures += 1;
      }
      try {
        await transactions.run((plan) => {
          for (const id of sent) scale.sent(plan, id);
        });
      } catch (err) {
        failures += 1;
        logger.error("messages that were sent could not be forgotten", { err });
      }
      if (failures > 0) await sleep(backoffMs(failures, BACKOFF), this.#stop.signal);
    }
  }
}
