/** Of those that are remembered behind an open one. */
const MAX_AHEAD = 10_000;

/**
 * Which messages of a stream are settled, when some are under way side by side: all up to a number, and single ones behind it. One that
 * was begun and ended unsettled stays open, because it comes again. Pure state.
 */
export class SettledSequences {
  #highest = 0;
  /** Begun and not settled. */
  readonly #open = new Set<number>();
  readonly #running = new Set<number>();
  /** Settled, behind an open one. */
  readonly #ahead = new Set<number>();

  /** Every message up to this one was settled, or was none of the subscription. */
  get upTo(): number {
    return this.#open.size === 0 ? this.#highest : Math.min(...this.#open) - 1;
  }

  /** Whether a message is to be handled: it is under way then. */
  begin(sequence: number): "begun" | "running" | "settled" {
    if (this.#running.has(sequence)) return "running";
    if (sequence <= this.upTo || this.#ahead.has(sequence)) return "settled";
    this.#open.add(sequence);
    this.#running.add(sequence);
    this.#highest = Math.max(this.#highest, sequence);
    return "begun";
  }

  /** A message that was begun is under way no more; unsettled it comes again. */
  end(sequence: number, outcome: "settled" | "unsettled"): void {
    this.#running.delete(sequence);
    if (outcome === "unsettled" || !this.#open.delete(sequence)) return;
    this.#ahead.add(sequence);
    // What is open for so long was taken out of the stream.
    if (this.#ahead.size > MAX_AHEAD) this.#open.delete(Math.min(...this.#open));
    const { upTo } = this;
    for (const one of this.#ahead) if (one <= upTo) this.#ahead.delete(one);
  }

  /** Messages up to this one are none of the subscription. */
  skip(sequence: number): void {
    this.#highest = Math.max(this.#highest, sequence);
  }

  /** The stream counts from 1 again. */
  reset(): void {
    this.#highest = 0;
    for (const some of [this.#open, this.#running, this.#ahead]) some.clear();
  }
}
