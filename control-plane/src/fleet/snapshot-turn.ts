/** Bounds of a {@link SnapshotTurn}. */
export interface TurnLimits {
  /** Longest time in which no byte of the snapshot comes, ms. */
  readonly stallMs: number;
  /** Longest turn in which hardly anything comes, ms. */
  readonly turnMs: number;
  /** How much longer a turn is for each 64 KiB that have come, ms. */
  readonly turnMsPer64KiB: number;
}

const SIZE_STEP_BYTES = 64 * 1024;
/** What comes after so much makes a turn no longer: a message holds no more. */
const MAX_COUNTED_BYTES = 16 * 1024 * 1024;

/**
 * How long one agent may send its snapshot: as long as it comes. Nobody knows before how large a snapshot is, so the
 * turn grows with what has come, and ends when nothing comes. Pure state: no I/O, and the time is told.
 */
export class SnapshotTurn {
  readonly #limits: TurnLimits;
  readonly #bytesBefore: number;
  #bytes: number;
  #elapsedMs = 0;
  #silentMs = 0;

  /** `receivedBytes`: bytes that have come before the turn. */
  constructor(limits: TurnLimits, receivedBytes: number) {
    this.#limits = limits;
    this.#bytesBefore = receivedBytes;
    this.#bytes = receivedBytes;
  }

  /** Takes up that so much more time has passed, and how many bytes have come in all; gives whether the turn goes on. */
  goesOn(passedMs: number, receivedBytes: number): boolean {
    const { stallMs, turnMs, turnMsPer64KiB } = this.#limits;
    this.#elapsedMs += passedMs;
    this.#silentMs = receivedBytes > this.#bytes ? 0 : this.#silentMs + passedMs;
    this.#bytes = receivedBytes;
    const countedBytes = Math.min(MAX_COUNTED_BYTES, receivedBytes - this.#bytesBefore);
    const longestMs = turnMs + (countedBytes / SIZE_STEP_BYTES) * turnMsPer64KiB;
    return this.#silentMs < stallMs && this.#elapsedMs < longestMs;
  }
}
