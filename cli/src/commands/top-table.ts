import { type FleetResource, type FleetRow, isStaleRow } from "../client/fleet-rows.ts";
import { bar, type Line, type Segment, type Style } from "../client/styled-text.ts";
import { printable } from "../client/table.ts";
import { textAt } from "../cluster-view.ts";
import { type RowColumn, rowColumns } from "./row-columns.ts";

/** Columns of `berth top`, the most telling ones first: what does not fit is cut off on the right. */
const SHOWN: Readonly<Record<FleetResource, string>> = {
  clusters: "CLUSTER,STATUS,UTIL,GPU MEMORY,GPUS,FREE,UNHEALTHY,NODES,CORES,MEMORY,POWER,AGE",
  nodes: "CLUSTER,NODE,STATUS,UTIL,GPU MEMORY,GPUS,FREE,UNHEALTHY,CPU,MEMORY,TEMP,POWER,AGE,REASON",
  gpus: "CLUSTER,NODE,GPU,STATE,UTIL,MEMORY,TEMP,POWER,CLOCK,PROCS,MODEL,AGE,REASON,THROTTLED BY,INSTANCES",
};
const SIMULATED_MARK = "(sim)";
const GAP = "  ";
/** Widths of a bar, from where there is room to where there is none. */
const BAR_WIDTHS = [10, 6, 4];
const BRACKETS_AND_BLANK = 3;
const BAD = new Set(["unhealthy", "unreachable"]);

/** A table of rows with bars, whose columns stay where they are while rows come and go. */
export class TopTable {
  readonly #columns: readonly RowColumn[];
  readonly #widths: number[];

  constructor(resource: FleetResource) {
    const all = rowColumns(resource, SIMULATED_MARK);
    this.#columns = SHOWN[resource]
      .split(",")
      .flatMap((title) => all.find((column) => column.title === title) ?? []);
    this.#widths = this.#columns.map((column) => column.title.length);
  }

  /** The heading and one line per row; `width` in characters, bars only with `bars`. */
  render(
    rows: readonly FleetRow[],
    how: { readonly bars: boolean; readonly width: number },
  ): { readonly heading: Line; readonly lines: readonly Line[] } {
    const cells = rows.map((row) => this.#columns.map((column) => printable(column.text(row))));
    for (const line of cells) {
      for (const [i, cell] of line.entries()) {
        this.#widths[i] = Math.max(this.#widths[i] ?? 0, cell.length);
      }
    }
    const barWidth = how.bars ? this.#barWidth(how.width) : 0;
    return {
      heading: this.#columns.map(({ title, ratio }, i) => ({
        text: title.padEnd(this.#cellWidth(i, ratio === undefined ? 0 : barWidth)) + GAP,
        style: "bold",
      })),
      lines: rows.map((row, n) => this.#line(row, cells[n] ?? [], barWidth)),
    };
  }

  #line(row: FleetRow, cells: readonly string[], barWidth: number): Line {
    const isStale = isStaleRow(row);
    return this.#columns.flatMap((column, i): readonly Segment[] => {
      const style = isStale ? "dim" : cellStyle(column, row);
      const width = this.#widths[i] ?? 0;
      const cell = cells[i] ?? "";
      if (column.ratio === undefined || barWidth === 0) {
        return [{ text: cell.padEnd(width), ...(style && { style }) }, { text: GAP }];
      }
      const barStyle = isStale ? "dim" : barStyleOf(column);
      return [
        ...bar(column.ratio(row), barWidth, barStyle),
        { text: ` ${cell.padStart(width)}${GAP}`, ...(style && { style }) },
      ];
    });
  }

  #barWidth(width: number): number {
    const fits = (barWidth: number) =>
      this.#columns.reduce((sum, { ratio }, i) => {
        return sum + this.#cellWidth(i, ratio === undefined ? 0 : barWidth) + GAP.length;
      }, 0) <= width;
    return BAR_WIDTHS.find(fits) ?? BAR_WIDTHS.at(-1) ?? 0;
  }

  #cellWidth(i: number, barWidth: number): number {
    return (this.#widths[i] ?? 0) + (barWidth === 0 ? 0 : barWidth + BRACKETS_AND_BLANK);
  }
}

function barStyleOf(column: RowColumn): Style {
  return /MEMORY/.test(column.title) ? "cyan" : "green";
}

function cellStyle(column: RowColumn, row: FleetRow): Style | undefined {
  const isBad = BAD.has(textAt(row, "state") ?? textAt(row, "status") ?? "");
  return isBad && (column.isStatus === true || column.title === "REASON") ? "red" : undefined;
}
