/** How long an {@link AckDeadline} waits. */
export interface AckTimes {
  /** For a message of no size, ms. */
  readonly baseMs: number;
  /** How much longer for each 64 KiB of a message, ms: the slowest line that is served. */
  readonly msPer64KiB: number;
}

const SIZE_STEP_BYTES = 64 * 1024;

/** Calls `onLate` with the limit when a sent message is not acknowledged within one that counts from its size. */
export class AckDeadline {
  readonly #times: AckTimes;
  readonly #onLate: (limitMs: number) => void;
  /** Bytes of the messages that are not acknowledged, by sequence number, the oldest first. */
  readonly #unacked = new Map<bigint, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(times: AckTimes, onLate: (limitMs: number) => void) {
    this.#times = times;
    this.#onLate = onLate;
  }

  /** A message of this size, before it is compressed, goes out. */
  sent(streamSeq: bigint, bytes: number): void {
    this.#unacked.set(streamSeq, bytes);
    if (this.#timer === undefined) this.#start();
  }

  /** All messages up to this one are acknowledged. */
  acked(streamSeq: bigint): void {
    this.stop();
    for (const seq of this.#unacked.keys()) {
      if (seq > streamSeq) break;
      this.#unacked.delete(seq);
    }
    this.#start();
  }

  /** Ends the wait. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Waits for the oldest one: those behind it come after it. */
  #start(): void {
    const [bytes] = this.#unacked.values();
    if (bytes === undefined) return;
    const { baseMs, msPer64KiB } = this.#times;
    const limitMs = baseMs + Math.ceil(bytes / SIZE_STEP_BYTES) * msPer64KiB;
    this.#timer = setTimeout(() => this.#onLate(limitMs), limitMs);
  }
}
