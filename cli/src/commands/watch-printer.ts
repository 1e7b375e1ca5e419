import { type FleetResource, type FleetRow, isStaleRow } from "../client/fleet-rows.ts";
import { jsonText, type OutputForm, renderData } from "../client/output.ts";
import { AlignedRows } from "../client/table.ts";
import { type RowColumn, rowColumns } from "./row-columns.ts";
import type { RowChange } from "./row-store.ts";

/** What {@link WatchPrinter} prints. */
export interface WatchPrinterOptions {
  readonly resource: FleetResource;
  readonly form: OutputForm;
  /** Whether a row counts as changed when only what was measured of it differs. */
  readonly samples: boolean;
  /** The state that is watched: what is removed may be in another one. */
  readonly state?: string | undefined;
}

/**
 * The text of a watch as it goes on: a table that gets lines for changed rows, or one document per change
 * (JSON: one line each, YAML: each after "---"). A row that is gone is told with `"removed": true`, in a
 * table as its state.
 */
export class WatchPrinter {
  readonly #options: WatchPrinterOptions;
  readonly #columns: readonly RowColumn[];
  readonly #aligned = new AlignedRows();
  /** What was printed last of each row, without what does not count as a change. */
  readonly #printed = new Map<string, string>();
  #hasHeading = false;

  constructor(options: WatchPrinterOptions) {
    this.#options = options;
    this.#columns = rowColumns(options.resource);
  }

  /** The text for some changes; empty when none of them shows. */
  print(changes: readonly RowChange[]): string {
    const shown = changes.filter((change) => this.#isNews(change));
    const { form } = this.#options;
    if (form === "table") return this.#lines(shown);
    return shown.map((change) => document(change, form)).join("");
  }

  #lines(changes: readonly RowChange[]): string {
    const heading = this.#hasHeading ? [] : [this.#columns.map((column) => column.title)];
    this.#hasHeading = true;
    return this.#aligned.render([...heading, ...changes.map((change) => this.#cells(change))]);
  }

  #cells({ kind, row }: RowChange): readonly string[] {
    if (kind === "changed") return this.#columns.map((column) => column.text(row));
    const { state } = this.#options;
    const gone = state === undefined ? "removed" : `not ${state}`;
    return this.#columns.map((column) => {
      if (column.tells === "name") return column.text(row);
      return column.isStatus === true ? gone : "-";
    });
  }

  /** Whether a change shows in what counts: in a table its cells, elsewhere all of the row but its age. */
  #isNews(change: RowChange): boolean {
    const id = this.#textOf(change.row, ["name"]);
    if (change.kind === "removed") {
      this.#printed.delete(id);
      return true;
    }
    const text = this.#newsOf(change.row);
    if (this.#printed.get(id) === text) return false;
    this.#printed.set(id, text);
    return true;
  }

  #newsOf(row: FleetRow): string {
    const { form, samples } = this.#options;
    if (samples && form !== "table") return JSON.stringify({ ...row, age_ms: null });
    const cells = this.#textOf(row, samples ? ["state", "measurement"] : ["state"]);
    return isStaleRow(row) ? `${cells} stale` : cells;
  }

  #textOf(row: FleetRow, what: readonly RowColumn["tells"][]): string {
    const cells = this.#columns.filter((column) => what.includes(column.tells));
    return JSON.stringify(cells.map((column) => column.text(row)));
  }
}

function document({ kind, row }: RowChange, form: "json" | "yaml"): string {
  const data = kind === "removed" ? { ...row, removed: true } : row;
  return form === "json" ? `${jsonText(data)}\n` : `---\n${renderData(data, form, () => "")}`;
}
