/** Calls `onLate` when a sent message is not acknowledged within a limit. */
export class AckDeadline {
  readonly #limitMs: number;
  readonly #onLate: () => void;
  #sent = 0n;
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number, onLate: () => void) {
    this.#limitMs = limitMs;
    this.#onLate = onLate;
  }

  sent(streamSeq: bigint): void {
    this.#sent = streamSeq;
    this.#timer ??= setTimeout(this.#onLate, this.#limitMs);
  }

  acked(streamSeq: bigint): void {
    this.stop();
    if (streamSeq < this.#sent) this.#timer = setTimeout(this.#onLate, this.#limitMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
