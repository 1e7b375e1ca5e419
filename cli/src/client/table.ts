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
  const lines = [table.columns, ...table.rows].map((row) => row.map(printable));
  const widths = table.columns.map((_, column) =>
    Math.max(...lines.map((line) => (line[column] ?? "").length)),
  );
  return lines
    .map((line) => widths.map((width, i) => (line[i] ?? "").padEnd(width)).join(GAP))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** Text without characters that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(CONTROL, "�");
}
