/** A table for people: a heading and rows of text. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const GAP = "  ";
/** Whatever could move the cursor or colour the terminal; ids and names come from elsewhere. */
const CONTROL = /\p{Cc}|\p{Cf}/gu;

/** Renders a table with aligned columns, one line per row and a line end after each. */
export function renderTable(table: Table): string {
  return new AlignedRows().render([table.columns, ...table.rows]);
}

/** Columns that stay aligned over rows that come one after the other: they widen, and never narrow. */
export class AlignedRows {
  readonly #widths: number[] = [];

  /** One line per row, a line end after each. */
  render(rows: readonly (readonly string[])[]): string {
    const lines = rows.map((row) => row.map(printable));
    for (const line of lines) {
      line.forEach((cell, i) => {
        this.#widths[i] = Math.max(this.#widths[i] ?? 0, cell.length);
      });
    }
    return lines
      .map((line) => line.map((cell, i) => cell.padEnd(this.#widths[i] ?? 0)).join(GAP))
      .map((line) => `${line.trimEnd()}\n`)
      .join("");
  }
}

/** Text without characters that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(CONTROL, "�");
}
