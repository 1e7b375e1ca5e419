/** Bytes of replies that all clients together may leave unread. */
export const MAX_UNSENT_BYTES = 128 * 1024 * 1024;

/** Ends the connection of a client. */
type End = () => void;

interface Debt {
  bytes: number;
  readonly end: End;
}

/**
 * Replies that have not left yet, by connection. When there are too many bytes of them, the connection that has
 * most is ended: its client does not read what it asked for.
 */
export class UnsentReplies {
  readonly #maxBytes: number;
  readonly #debts = new Map<object, Debt>();
  #bytes = 0;

  constructor(maxBytes = MAX_UNSENT_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Notes a reply on its way. To be called before `left`; `end` may be called at once. */
  sending(connection: object, bytes: number, end: End): void {
    const debt = this.#debts.get(connection) ?? { bytes: 0, end };
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
    if (debt.bytes <= 0) this.#debts.delete(connection);
  }

  /** The connection has ended: none of its replies will leave. */
  forget(connection: object): void {
    this.#bytes -= this.#debts.get(connection)?.bytes ?? 0;
    this.#debts.delete(connection);
  }

  #endLargest(): void {
    const [first, ...others] = this.#debts;
    if (first === undefined) return;
    const [connection, debt] = others.reduce(
      (one, other) => (other[1].bytes > one[1].bytes ? other : one),
      first,
    );
    this.forget(connection);
    debt.end();
  }
}
