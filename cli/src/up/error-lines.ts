const KEPT_LINES = 50;
const NOISE = [/^\s/, /^$/, /^}/, /^Node\.js v/, /^file:\/\//, /^node:/];

/** Keeps the newest lines of a program's standard error, for the message when it fails. */
export class ErrorLines {
  readonly #lines: string[] = [];

  /** Remembers one line; the oldest are forgotten. */
  add(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }

  /** The line that says most, see {@link tellingLine}. */
  telling(): string | undefined {
    return tellingLine(this.#lines);
  }
}

/**
 * The last line that is a message rather than part of a stack trace or of Node's report around one;
 * the very last line when there is no such line, undefined when there are no lines.
 */
export function tellingLine(lines: readonly string[]): string | undefined {
  return lines.findLast((line) => !NOISE.some((pattern) => pattern.test(line))) ?? lines.at(-1);
}

/** Lets through a bounded number of lines per window of time, and counts the ones that it holds back. */
export class LineBudget {
  readonly #limit: number;
  readonly #windowMs: number;
  #windowStartMs = Number.NEGATIVE_INFINITY;
  #used = 0;
  #held = 0;

  /** At most `limit` lines in each `windowMs` milliseconds. */
  constructor(limit: number, windowMs: number) {
    this.#limit = limit;
    this.#windowMs = windowMs;
  }

  /**
   * Whether a line may be shown now. `heldBefore` is how many were held back in the window before,
   * told once, with the first line of the next window. `nowMs` is monotonic.
   */
  take(nowMs: number): { readonly allowed: boolean; readonly heldBefore: number } {
    let heldBefore = 0;
    if (nowMs - this.#windowStartMs >= this.#windowMs) {
      heldBefore = this.#held;
      this.#windowStartMs = nowMs;
      this.#used = 0;
      this.#held = 0;
    }
    if (this.#used >= this.#limit) {
      this.#held += 1;
      return { allowed: false, heldBefore };
    }
    this.#used += 1;
    return { allowed: true, heldBefore };
  }
}
