import { printable } from "./table.ts";

/** Looks of a piece of text. */
export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan" | "inverse";

/** A piece of a line. */
export interface Segment {
  readonly text: string;
  readonly style?: Style;
}

/** One line of a screen. */
export type Line = readonly Segment[];

const CODES: Readonly<Record<Style, number>> = {
  bold: 1,
  dim: 2,
  inverse: 7,
  red: 31,
  green: 32,
  yellow: 33,
  cyan: 36,
};

/**
 * A line as text for an output: without anything that a terminal would obey but the styles, and these only
 * `styled`; cut off at `width` characters.
 */
export function lineText(
  line: Line,
  how: { readonly styled: boolean; readonly width?: number },
): string {
  let left = how.width ?? Number.POSITIVE_INFINITY;
  let text = "";
  for (const segment of line) {
    if (left <= 0) break;
    const shown = cut(printable(segment.text), left);
    left -= [...shown].length;
    text += how.styled ? styled(shown, segment.style) : shown;
  }
  return how.styled ? text : text.trimEnd();
}

/** Characters of a line, as far as they can be told without the terminal's font. */
export function lineWidth(line: Line): number {
  return line.reduce((sum, segment) => sum + segment.text.length, 0);
}

/** A bar: "[||||      ]", the filled part in a style of its own. */
export function bar(ratio: number | undefined, width: number, style: Style): Line {
  const share = ratio === undefined || Number.isNaN(ratio) ? 0 : Math.min(1, Math.max(0, ratio));
  const filled = share > 0 ? Math.max(1, Math.round(share * width)) : 0;
  return [
    { text: "[", style: "dim" },
    { text: "|".repeat(filled), style },
    { text: " ".repeat(width - filled) },
    { text: "]", style: "dim" },
  ];
}

function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  return [...text].slice(0, width).join("");
}

function styled(text: string, style: Style | undefined): string {
  if (style === undefined || text === "") return text;
  return `\u001b[${CODES[style]}m${text}\u001b[0m`;
}
