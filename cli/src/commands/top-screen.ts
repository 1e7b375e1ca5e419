import { type Line, lineText } from "../client/styled-text.ts";
import type { Output } from "../context.ts";

// Control sequences of ECMA-48 and xterm: the second screen, the cursor, and no breaking of long lines.
const ENTER = "\u001b[?1049h\u001b[?25l\u001b[?7l";
const LEAVE = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const HOME = "\u001b[H";
const CLEAR_REST_OF_LINE = "\u001b[K";
const CLEAR_BELOW = "\u001b[J";
/** Of a terminal that does not know its own size. */
const DEFAULT_SIZE = { width: 80, height: 24 };

/** A whole terminal that shows one picture after the other in place; what was there comes back at the end. */
export class TopScreen {
  readonly #output: Output;
  readonly #styled: boolean;
  #isOpen = false;

  /** `styled`: whether colours are wanted. */
  constructor(output: Output, styled: boolean) {
    this.#output = output;
    this.#styled = styled;
  }

  /** Characters and lines of the terminal as it is now. */
  get size(): { readonly width: number; readonly height: number } {
    return {
      width: this.#output.columns || DEFAULT_SIZE.width,
      height: this.#output.rows || DEFAULT_SIZE.height,
    };
  }

  /** Takes the terminal. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#output.write(ENTER);
  }

  /** Shows a picture in place of the one before. */
  show(lines: readonly Line[]): void {
    if (!this.#isOpen) return;
    const { width, height } = this.size;
    const text = lines
      .slice(0, height)
      .map((line) => lineText(line, { styled: this.#styled, width }) + CLEAR_REST_OF_LINE)
      .join("\r\n");
    this.#output.write(`${HOME}${text}${CLEAR_BELOW}`);
  }

  /** Gives the terminal back. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#output.write(LEAVE);
  }
}
