import type { EndCause } from "./job.ts";

/** A worker process has ended before it was ready; the message tells how, and what it wrote last. */
export class WorkerEnded extends Error {
  readonly endCause: EndCause;
  /** The signal that ended it from outside; null when it left by itself or was killed by this program. */
  readonly signal: NodeJS.Signals | null;

  constructor(
    end: { readonly cause: EndCause; readonly message: string },
    signal: NodeJS.Signals | null,
  ) {
    super(end.message);
    this.name = "WorkerEnded";
    this.endCause = end.cause;
    this.signal = signal;
  }
}
