import type { NodeReportRequest } from "@berth/proto";

interface Written {
  readonly message: NodeReportRequest;
  readonly sent: () => void;
}

type Step = IteratorResult<NodeReportRequest, undefined>;

const END: Step = { done: true, value: undefined };

/**
 * The messages of one Report stream, from the node-agent that writes them to the cluster-agent that reads
 * them. The writer holds the next one back until `sent`, so there is one on its way at most.
 */
export class OutgoingReports implements AsyncIterableIterator<NodeReportRequest> {
  readonly #written: Written[] = [];
  #taken: Written | undefined;
  #waiting: ((step: Step) => void) | undefined;
  #ended = false;

  /** Hands a message over; `sent` runs when the reader asks for the next one, never after the end. */
  write(message: NodeReportRequest, sent: () => void): void {
    if (this.#ended) return;
    this.#written.push({ message, sent });
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(this.#take());
  }

  /** Ends the stream; what the reader has not taken is dropped. */
  end(): void {
    this.#ended = true;
    this.#written.length = 0;
    this.#taken = undefined;
    this.#waiting?.(END);
    this.#waiting = undefined;
  }

  next(): Promise<Step> {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.sent();
    if (this.#ended) return Promise.resolve(END);
    if (this.#written.length > 0) return Promise.resolve(this.#take());
    const { promise, resolve } = Promise.withResolvers<Step>();
    this.#waiting = resolve;
    return promise;
  }

  async return(): Promise<Step> {
    this.end();
    return END;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #take(): Step {
    const written = this.#written.shift();
    if (written === undefined) return END;
    this.#taken = written;
    return { done: false, value: written.message };
  }
}
