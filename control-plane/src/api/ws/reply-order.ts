/** The place of one reply among those that keep the order of their requests. */
export interface Turn {
  /** Settles when every earlier reply that keeps the order has left, or when the order has ended. */
  readonly earlier: Promise<void>;
  /** The reply keeps no order: those behind wait for the earlier ones only. */
  skip(): void;
  /** The reply has left. */
  done(): void;
}

/** Order of replies on one connection, in which each has its place from when its request came. */
export class ReplyOrder {
  readonly #unsettled = new Set<() => void>();
  #last: Promise<void> = Promise.resolve();

  /** The place after all that were taken before. */
  next(): Turn {
    const earlier = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    const settle = () => resolve();
    this.#unsettled.add(settle);
    this.#last = promise;
    return {
      earlier,
      skip: () => void earlier.then(() => this.#settle(settle)),
      done: () => this.#settle(settle),
    };
  }

  /** Lets everybody go on: nobody hears the replies any more. */
  end(): void {
    for (const settle of this.#unsettled) settle();
    this.#unsettled.clear();
  }

  #settle(settle: () => void): void {
    this.#unsettled.delete(settle);
    settle();
  }
}
