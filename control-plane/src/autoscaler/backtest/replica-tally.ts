/** What became of the replicas of a subject over time. JSON as clients read it. */
export interface ReplicaCounts {
  readonly changes: number;
  readonly up: number;
  readonly down: number;
  /** Changes of the other direction than the change before them. */
  readonly reversals: number;
  readonly replica_hours: number;
}

interface Seen {
  readonly atMs: number;
  readonly replicas: number;
}

const HOUR_MS = 3_600_000;

/** Counts the changes of a number of replicas that is told moment after moment. */
export class ReplicaTally {
  #last: Seen | undefined;
  #direction: "up" | "down" | undefined;
  #up = 0;
  #down = 0;
  #reversals = 0;
  #replicaMs = 0;

  /** What is desired at a moment; it counts since the moment before, because a change follows its evaluation at once. */
  note(seen: Seen): void {
    const last = this.#last ?? seen;
    this.#last = seen;
    this.#replicaMs += seen.replicas * (seen.atMs - last.atMs);
    if (seen.replicas === last.replicas) return;
    const direction = seen.replicas > last.replicas ? "up" : "down";
    if (direction === "up") this.#up += 1;
    else this.#down += 1;
    if (this.#direction !== undefined && this.#direction !== direction) this.#reversals += 1;
    this.#direction = direction;
  }

  /** What was counted; replica-hours to a thousandth. */
  get counts(): ReplicaCounts {
    return {
      ...{ changes: this.#up + this.#down, up: this.#up, down: this.#down },
      reversals: this.#reversals,
      replica_hours: Math.round((this.#replicaMs / HOUR_MS) * 1_000) / 1_000,
    };
  }
}
