import type { DatabaseSync } from "node:sqlite";

/** Works of one transaction at most; the rest has the next turn of the event loop. */
const MAX_GROUP = 256;

/** What one work came to: its value, and whether its changes are to stay. */
export interface WorkResult<T> {
  readonly value: T;
  readonly keep: boolean;
}

interface Queued {
  readonly work: () => WorkResult<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (thrown: unknown) => void;
}

/**
 * Commits the works of one turn of the event loop in one transaction, so that a hundred callers share one
 * sync of the disk. Each work is all or nothing by itself, and settles when the disk has it.
 */
export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #queue: Queued[] = [];
  #scheduled = false;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Does the work in its turn; `work` is synchronous and touches nothing but the database. */
  run<T>(work: () => WorkResult<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ work, resolve: resolve as (value: unknown) => void, reject });
      this.#schedule();
    });
  }

  /** Does everything that is queued, at once. */
  flush(): void {
    while (this.#queue.length > 0) this.#commit(this.#queue.splice(0, MAX_GROUP));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#commit(this.#queue.splice(0, MAX_GROUP));
      if (this.#queue.length > 0) this.#schedule();
    });
  }

  #commit(group: readonly Queued[]): void {
    if (group.length === 0) return;
    const settled: (() => void)[] = [];
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      for (const queued of group) settled.push(this.#do(queued));
      this.#database.exec("COMMIT");
    } catch (thrown) {
      if (this.#database.isOpen && this.#database.isTransaction) this.#database.exec("ROLLBACK");
      for (const { reject } of group) reject(thrown);
      return;
    }
    for (const settle of settled) settle();
  }

  /** One work behind a savepoint; throws only when the whole transaction is gone. */
  #do({ work, resolve, reject }: Queued): () => void {
    this.#database.exec("SAVEPOINT work");
    try {
      const { value, keep } = work();
      this.#database.exec(keep ? "RELEASE work" : "ROLLBACK TO work; RELEASE work");
      return () => resolve(value);
    } catch (thrown) {
      // A full disk, among others, makes SQLite give up the transaction with all works in it.
      if (!this.#database.isTransaction) throw thrown;
      this.#database.exec("ROLLBACK TO work; RELEASE work");
      return () => reject(thrown);
    }
  }
}
