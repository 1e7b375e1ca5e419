import type { Output } from "../context.ts";

const CLEAR_LINE = "\r\u001b[2K";
/** Where a status cannot change in place, it is a line of its own: at most one in this time. */
const LINE_INTERVAL_MS = 10_000;

/** Lines for a person, and one status line below them that changes in place on a terminal. */
export class Terminal {
  readonly #output: Output;
  readonly #nowMs: () => number;
  #status = "";
  /** The newest status that was printed as a line, and when. */
  #line = "";
  #lineAtMs = Number.NEGATIVE_INFINITY;

  constructor(output: Output, nowMs: () => number = () => performance.now()) {
    this.#output = output;
    this.#nowMs = nowMs;
  }

  /** Prints a line above the status line. */
  print(line: string): void {
    if (!this.#isTerminal()) {
      this.#output.write(`${line}\n`);
      return;
    }
    const cleared = this.#status === "" ? "" : CLEAR_LINE;
    this.#output.write(`${cleared}${line}\n${this.#fitted(this.#status)}`);
  }

  /**
   * Shows what is being waited for. On a file or a pipe that is a line, when it changed and at most every 10 s: told
   * again and again, as waits are, the newest one comes out then.
   */
  status(text: string): void {
    if (!this.#isTerminal()) {
      this.#statusLine(text);
      return;
    }
    if (text === this.#status) return;
    this.#status = text;
    this.#output.write(`${CLEAR_LINE}${this.#fitted(text)}`);
  }

  #statusLine(text: string): void {
    const nowMs = this.#nowMs();
    if (text === "" || text === this.#line || nowMs - this.#lineAtMs < LINE_INTERVAL_MS) return;
    this.#line = text;
    this.#lineAtMs = nowMs;
    this.#output.write(`${text}\n`);
  }

  #isTerminal(): boolean {
    return this.#output.isTTY === true;
  }

  #fitted(text: string): string {
    // A terminal that does not know its width says 0.
    const width = (this.#output.columns || 80) - 1;
    return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
  }
}
