/**
 * Cuts a text stream into lines without ever holding more than one line of `maxLength` characters: a
 * longer line is dropped as a whole, up to its newline.
 */
export class LineSplitter {
  readonly #maxLength: number;
  #rest = "";
  #dropping = false;

  constructor(maxLength = 4096) {
    this.#maxLength = maxLength;
  }

  /** Complete lines that this chunk ends, without their line ends; empty lines are left out. */
  push(chunk: string): string[] {
    const parts = chunk.split("\n");
    const last = parts.pop() ?? "";
    const lines: string[] = [];
    for (const part of parts) {
      const line = this.#take(part);
      if (line !== undefined && line !== "") lines.push(line);
    }
    this.#hold(last);
    return lines;
  }

  #take(part: string): string | undefined {
    const line = (this.#rest + part).replace(/\r$/, "");
    const dropped = this.#dropping || line.length > this.#maxLength;
    this.#rest = "";
    this.#dropping = false;
    return dropped ? undefined : line;
  }

  #hold(part: string): void {
    if (this.#dropping) return;
    this.#rest += part;
    if (this.#rest.length <= this.#maxLength) return;
    this.#rest = "";
    this.#dropping = true;
  }
}
