/** Most steps that a query takes on one cluster: a value that is visited or compared is one. */
export const MAX_CLUSTER_STEPS = 1_000_000;
/** Most steps that the queries of one request take on all clusters together: a second or two. */
export const MAX_REQUEST_STEPS = 20_000_000;
/** Steps between two moments at which others could have their turn: a fraction of a millisecond. */
const STEPS_PER_PIECE = 4_096;

/** What looking for something comes to when it would take too long. */
export const TOO_LONG = "takes too long";

/** Whether something matches, as far as there were steps to find that out. */
export type Verdict = boolean | typeof TOO_LONG;

/** Counts the steps that the queries of one request take. */
export class QuerySteps {
  #leftOfCluster = 0;
  #leftOfRequest = MAX_REQUEST_STEPS;
  #sincePause = 0;

  /** Begins with the next cluster. */
  nextCluster(): void {
    this.#leftOfCluster = MAX_CLUSTER_STEPS;
  }

  /** Whether steps can still be taken on any cluster. */
  get isSpent(): boolean {
    return this.#leftOfRequest < 0;
  }

  /** Takes steps; false when there are not as many left. */
  take(count: number): boolean {
    this.#leftOfCluster -= count;
    this.#leftOfRequest -= count;
    this.#sincePause += count;
    return this.#leftOfCluster >= 0 && this.#leftOfRequest >= 0;
  }

  /** Whether it is time to pause; every few thousand steps it is, once. */
  isPauseDue(): boolean {
    if (this.#sincePause < STEPS_PER_PIECE) return false;
    this.#sincePause = 0;
    return true;
  }
}
