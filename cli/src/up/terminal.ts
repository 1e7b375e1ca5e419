import type { Output } from "../context.ts";

const CLEAR_LINE = "\r\u001b[2K";

/** Lines for a person, and one status line below them that changes in place on a terminal. */
export class Terminal {
  readonly #output: Output;
  #status = "";

  constructor(output: Output) {
    this.#output = output;
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

  /** Shows what is being waited for; on a file or a pipe a line, and only when it changed. */
  status(text: string): void {
    if (text === this.#status) return;
    this.#status = text;
    if (!this.#isTerminal()) {
      if (text !== "") this.#output.write(`${text}\n`);
      return;
    }
    this.#output.write(`${CLEAR_LINE}${this.#fitted(text)}`);
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
