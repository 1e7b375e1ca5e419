import type { Departure } from "./departure.ts";

/** Bytes of replies that all clients together may leave unread. */
export const MAX_UNSENT_BYTES = 128 * 1024 * 1024;

/** How often it is looked whether replies leave, in ms. */
export const MAX_DEPARTURE_MS = 60_000;

/** The client's end of a connection. */
export interface Taker {
  readonly departure: Departure;
  /** Ends the connection. */
  end(): void;
}

interface Debt {
  bytes: number;
  readonly taker: Taker;
  /** What had left at the last look, or with the last reply after it. */
  sentBytes: number;
  /** Runs from that moment. */
  readonly look: NodeJS.Timeout;
}

/** Bounds of {@link UnsentReplies}. */
export interface UnsentBounds {
  /** {@link MAX_UNSENT_BYTES} by default. */
  readonly maxBytes?: number;
  /** {@link MAX_DEPARTURE_MS} by default. */
  readonly maxDepartureMs?: number;
}

/**
 * Replies that have not left yet, by connection. When there are too many bytes of them, the connection that has
 * most is ended: its client does not read what it asked for. So is one that has taken nothing from one look to the next.
 */
export class UnsentReplies {
  readonly #maxBytes: number;
  readonly #maxDepartureMs: number;
  readonly #debts = new Map<object, Debt>();
  #bytes = 0;

  constructor({ maxBytes, maxDepartureMs }: UnsentBounds = {}) {
    this.#maxBytes = maxBytes ?? MAX_UNSENT_BYTES;
    this.#maxDepartureMs = maxDepartureMs ?? MAX_DEPARTURE_MS;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Notes a reply on its way. To be called before `left`; the taker may be ended at once. */
  sending(connection: object, bytes: number, taker: Taker): void {
    const debt = this.#debts.get(connection) ?? this.#newDebt(connection, taker);
    debt.bytes += bytes;
    this.#bytes += bytes;
    this.#debts.set(connection, debt);
    while (this.#bytes > this.#maxBytes) this.#endLargest();
  }

  /** The reply has left, or never will. */
  left(connection: object, bytes: number): void {
    const debt = this.#debts.get(connection);
    // One that was ended owes nothing any more.
    if (debt === undefined) return;
    debt.bytes -= bytes;
    this.#bytes -= bytes;
    if (debt.bytes <= 0) {
      this.forget(connection);
      return;
    }
    debt.sentBytes = debt.taker.departure.sentBytes();
    debt.look.refresh();
  }

  /** The connection has ended: none of its replies will leave. */
  forget(connection: object): void {
    const debt = this.#debts.get(connection);
    if (debt === undefined) return;
    clearTimeout(debt.look);
    this.#bytes -= debt.bytes;
    this.#debts.delete(connection);
  }

  #newDebt(connection: object, taker: Taker): Debt {
    const look = setTimeout(() => this.#endIfStuck(connection), this.#maxDepartureMs);
    return { bytes: 0, taker, sentBytes: taker.departure.sentBytes(), look: look.unref() };
  }

  #endIfStuck(connection: object): void {
    const debt = this.#debts.get(connection);
    if (debt === undefined) return;
    const { departure } = debt.taker;
    const sentBytes = departure.sentBytes();
    // A reply that waits for those to earlier requests is not at the client's door yet.
    if (departure.pendingBytes() > 0 && sentBytes === debt.sentBytes) {
      this.forget(connection);
      debt.taker.end();
      return;
    }
    debt.sentBytes = sentBytes;
    debt.look.refresh();
  }

  #endLargest(): void {
    const [first, ...others] = this.#debts;
    if (first === undefined) return;
    const [connection, debt] = others.reduce(
      (one, other) => (other[1].bytes > one[1].bytes ? other : one),
      first,
    );
    this.forget(connection);
    debt.taker.end();
  }
}
