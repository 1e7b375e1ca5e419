import { BerthError } from "@berth/service-kit";

/** Most tasks of one cluster that wait or run; an honest agent has one. */
const MAX_WAITING = 32;

interface Turn {
  waiting: number;
  last: Promise<unknown>;
}

/** Runs tasks of one cluster one after the other, those of different clusters beside each other. */
export class ClusterTurns {
  readonly #turns = new Map<string, Turn>();

  /** Result of the task, once every one of the cluster before it has settled. OVERLOADED beyond 32. */
  async run<T>(cluster: string, task: () => Promise<T>): Promise<T> {
    const turn = this.#turns.get(cluster) ?? { waiting: 0, last: Promise.resolve() };
    if (turn.waiting >= MAX_WAITING) {
      throw new BerthError(
        "OVERLOADED",
        "too many registrations of this cluster at once; try again",
      );
    }
    this.#turns.set(cluster, turn);
    turn.waiting += 1;
    const result = turn.last.then(task);
    // The next one waits for this one, however it ends; its own caller hears how.
    turn.last = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      turn.waiting -= 1;
      if (turn.waiting === 0) this.#turns.delete(cluster);
    }
  }
}
