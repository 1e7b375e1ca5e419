import { BerthError } from "../errors.ts";
import { Interruptible } from "../interruptible.ts";
import { Pacer } from "../pacer.ts";
import type { DocumentFilter } from "./filter.ts";

/** What is asked of a list. */
export interface Selection<T> {
  readonly items: Iterable<T>;
  readonly matches: DocumentFilter;
  /** What the filter looks at; an item without a document does not match. */
  readonly documentOf: (item: T) => object | null;
  /** Name of the filter in messages: "query". */
  readonly field: string;
  readonly signal?: AbortSignal | undefined;
}

/** Bounds of one selection, in ms. */
export interface QueryLimits {
  /** Longest look at one document: nothing else runs meanwhile. */
  readonly documentMs: number;
  /** Longest time of all looks together. */
  readonly totalMs: number;
}

/** By default; a look at a cluster of 100 nodes takes well below 1 ms. */
export const QUERY_LIMITS: QueryLimits = { documentMs: 50, totalMs: 2_000 };

/** Looks are gathered for so long, then others have their turn. */
const PIECE_MS = 8;
/** A process that was kept from running by others looks slow, too. */
const TRIES = 2;

/**
 * Runs filters of `compileFilter` over lists. The library behind them cannot pause within a document, and the
 * time of a look grows with the filter times the document, so looks run in pieces of a few ms that others
 * have their turn between, and one that takes too long is cut off and the filter refused.
 */
export class QueryRunner {
  readonly #pacer: Pacer;
  readonly #limits: QueryLimits;
  readonly #interruptible = new Interruptible();

  constructor(pacer: Pacer = new Pacer(), limits: QueryLimits = QUERY_LIMITS) {
    this.#pacer = pacer;
    this.#limits = limits;
  }

  /**
   * The items whose documents match, in their order. Rejects with INVALID_ARGUMENT, naming the field, when the
   * filter takes too long, and with the signal's reason as soon as it is aborted.
   */
  select<T>(selection: Selection<T>): Promise<readonly T[]> {
    const signal = selection.signal ?? new AbortController().signal;
    return this.#pacer.run(this.#looks(selection), signal);
  }

  *#looks<T>({ items, matches, documentOf, field }: Selection<T>): Generator<void, readonly T[]> {
    const list = [...items];
    const hits = new Uint8Array(list.length);
    const { documentMs, totalMs } = this.#limits;
    let at = 0;
    let spentMs = 0;
    let tries = 0;
    // What is cut off is done again: a hit is set before its item counts as seen.
    const piece = () => {
      const begunAt = performance.now();
      for (; at < list.length && performance.now() - begunAt < PIECE_MS; at += 1) {
        const document = documentOf(list[at] as T);
        hits[at] = document !== null && matches(document) ? 1 : 0;
      }
    };
    while (at < list.length) {
      const before = at;
      const begunAt = performance.now();
      const { kind } = this.#interruptible.run(piece, PIECE_MS + documentMs);
      spentMs += performance.now() - begunAt;
      tries = kind === "interrupted" && at === before ? tries + 1 : 0;
      if (tries >= TRIES) throw tooLong(field, `${documentMs} ms on one document`);
      if (spentMs > totalMs) throw tooLong(field, `${totalMs} ms`);
      yield;
    }
    return list.filter((_item, index) => hits[index] === 1);
  }
}

function tooLong(field: string, time: string): BerthError {
  const message = `${field}: takes more than ${time}: ask with fewer conditions, or not below lists`;
  return new BerthError("INVALID_ARGUMENT", message);
}
