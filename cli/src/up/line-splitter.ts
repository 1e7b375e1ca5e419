/** Longest line that is kept in one piece, in UTF-16 units. */
export const LINE_LIMIT = 64 * 1024;

/** Cuts a stream of text into lines; a line over the limit comes out in several pieces. */
export class LineSplitter {
  readonly #limit: number;
  #rest = "";

  /** `limit`: longest line, in UTF-16 units. */
  constructor(limit: number = LINE_LIMIT) {
    this.#limit = limit;
  }

  /** Takes the next piece of text and gives the lines that it completes, without their ends. */
  push(text: string): string[] {
    const parts = (this.#rest + text).split("\n");
    this.#rest = parts.pop() ?? "";
    const lines = parts.flatMap((line) => this.#pieces(line.replace(/\r$/, "")));
    while (this.#rest.length > this.#limit) {
      lines.push(this.#rest.slice(0, this.#limit));
      this.#rest = this.#rest.slice(this.#limit);
    }
    return lines;
  }

  /** Gives what is left at the end of the stream: no line or one. */
  flush(): string[] {
    const rest = this.#rest;
    this.#rest = "";
    return rest === "" ? [] : [rest];
  }

  #pieces(line: string): string[] {
    if (line.length <= this.#limit) return [line];
    const pieces: string[] = [];
    for (let start = 0; start < line.length; start += this.#limit) {
      pieces.push(line.slice(start, start + this.#limit));
    }
    return pieces;
  }
}
