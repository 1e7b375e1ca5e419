import { WorkerEnded } from "./worker-ended.ts";

/** What follows from a worker that did not start. */
export interface StartVerdict {
  /** How long to wait before the next start; 0 is at once. */
  readonly backoffMs: number;
  /** The memory image may be the reason. */
  readonly suspectsImage: boolean;
  /** Whoever waits is to be told, unless another worker is there or on its way. */
  readonly givesUp: boolean;
}

const MAX_IN_A_ROW = 3;
const BACKOFF_MIN_MS = 250;
/** Whoever comes meanwhile waits for it. */
const BACKOFF_MAX_MS = 5_000;

/**
 * The failures to start a worker since one came up. One whose process a signal ended (somebody's kill, the kernel
 * that needs memory), or that did not come up in time, says nothing about the next; what has another reason than the
 * process gives up at once.
 */
export class StartFailures {
  #inARow = 0;
  #last: unknown = null;

  /** The same error, which several starts may have waited for, counts once. */
  note(error: unknown): StartVerdict {
    if (this.#inARow === 0 || error !== this.#last) this.#inARow += 1;
    this.#last = error;
    const lasts = this.#inARow >= MAX_IN_A_ROW;
    if (error instanceof WorkerEnded && isAccident(error) && !lasts) {
      return { backoffMs: 0, suspectsImage: false, givesUp: false };
    }
    const backoffMs = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** (this.#inARow - 1));
    const suspectsImage = error instanceof WorkerEnded && error.endCause !== "spawn";
    return { backoffMs, suspectsImage, givesUp: lasts || !suspectsImage };
  }

  /** A worker came up. */
  clear(): void {
    this.#inARow = 0;
    this.#last = null;
  }
}

function isAccident({ signal, endCause }: WorkerEnded): boolean {
  return signal !== null || endCause === "late";
}
