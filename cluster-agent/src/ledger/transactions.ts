import type { LeaseHold, LedgerRefusal } from "./claim.ts";
import { type CapacityOf, Draft } from "./draft.ts";
import type { LeaseNow } from "./leases.ts";
import type { NodeBook } from "./node-book.ts";
import type { NodeBooks } from "./node-books.ts";

/** What came of looking at the books. */
export type Decision<T> =
  | {
      readonly kind: "answer";
      /** A refusal drops the draft; anything else is told when the draft is durable. */
      readonly value: T | LedgerRefusal;
      /** The answer looked at all books, not only at those in reach. */
      readonly lookedAtAll?: boolean;
    }
  /** Something on this node must be durable before it can be said. */
  | { readonly kind: "later"; readonly nodeId: string };

/** What {@link Transactions} work on. */
export interface TransactionsOptions {
  readonly books: NodeBooks;
  readonly capacity: CapacityOf;
  readonly leaseNow: () => LeaseNow;
  /** Why nothing may be changed now; undefined when it may. */
  readonly closed: () => LedgerRefusal | undefined;
  /** Void leases were struck out, durably. */
  readonly onEnded: (leases: readonly LeaseHold[]) => void;
}

/**
 * Check and change in one: the check is made on the newest bodies, and exactly these are replaced. Callers of one turn
 * of the event loop do not wait for one another; each builds on the one before.
 */
export class Transactions {
  readonly #options: TransactionsOptions;

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /**
   * Lets `decide` change a draft, and gives its answer when all that the answer rests on is durable, a refusal too.
   * `reach` names the nodes that it looks at or changes; `decide` is synchronous and may be called again. Rejects with
   * UNAVAILABLE when the answer, or something it rests on, did not become durable.
   */
  async run<T extends { readonly kind: string }>(
    reach: () => Iterable<string>,
    decide: (draft: Draft) => Decision<T>,
  ): Promise<T | LedgerRefusal> {
    const { books, closed, leaseNow } = this.#options;
    for (;;) {
      const refusal = closed();
      if (refusal !== undefined) return refusal;
      const inReach = [...new Set(reach())].flatMap((nodeId) => books.find(nodeId) ?? []);
      const waiting = inReach.filter(({ isReady }) => !isReady);
      if (waiting.length > 0) {
        await Promise.all(waiting.map((book) => books.ready(book)));
        continue;
      }
      const draft = new Draft(books, leaseNow());
      const decision = decide(draft);
      if (decision.kind === "answer") return await this.#tell(decision, draft, inReach);
      const book = books.find(decision.nodeId);
      if (book !== undefined) await books.settled([book]);
    }
  }

  async #tell<T extends { readonly kind: string }>(
    { value, lookedAtAll = false }: Extract<Decision<T>, { kind: "answer" }>,
    draft: Draft,
    inReach: readonly NodeBook[],
  ): Promise<T | LedgerRefusal> {
    const { books, capacity, onEnded } = this.#options;
    const changes = value.kind === "refused" ? [] : draft.changes(capacity);
    if (changes.length === 0) {
      await books.settled(lookedAtAll ? books.all().filter(({ isIdle }) => !isIdle) : inReach);
      return value;
    }
    // What the answer rests on without changing it.
    const untouched = inReach.filter((book) => changes.every((change) => change.book !== book));
    await Promise.all([books.commit(changes), books.settled(untouched)]);
    onEnded(draft.ended);
    return value;
  }
}
