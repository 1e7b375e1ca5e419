import {
  type FleetResource,
  type FleetRow,
  isStaleRow,
  numberIn,
  rowId,
} from "../client/fleet-rows.ts";
import type { WatchNews } from "../client/row-watch.ts";

/** One thing that was told: a row that is new or may differ, or one that is gone, as it was last. */
export interface RowChange {
  readonly kind: "changed" | "removed";
  readonly row: FleetRow;
}

interface Held {
  readonly row: FleetRow;
  readonly atMs: number;
}

/** The newest rows of a watched resource. */
export class RowStore {
  readonly #resource: FleetResource;
  readonly #held = new Map<string, Held>();
  #lostAtMs: number | undefined;
  #isTruncated = false;

  constructor(resource: FleetResource) {
    this.#resource = resource;
  }

  /** When the watch was lost, on the caller's clock; undefined while it works. */
  get lostAtMs(): number | undefined {
    return this.#lostAtMs;
  }

  /** Whether the server leaves rows out because there are too many. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  /** Takes in what a watch told at `nowMs` and gives it row by row. */
  take(news: WatchNews, nowMs: number): readonly RowChange[] {
    if (news.kind === "lost") {
      this.#lostAtMs ??= nowMs;
      return [];
    }
    this.#lostAtMs = undefined;
    this.#isTruncated = news.truncated;
    if (news.kind === "changes") {
      return [...this.#put(news.changed, nowMs), ...this.#remove(news.removed)];
    }
    const kept = new Set(news.rows.map((row) => rowId(this.#resource, row)));
    const gone = [...this.#held.keys()].filter((id) => !kept.has(id));
    return [...this.#put(news.rows, nowMs), ...this.#remove(gone)];
  }

  /** All rows with the age that they have at `nowMs`, in the order in which they came. */
  rows(nowMs: number): readonly FleetRow[] {
    return [...this.#held.values()].map((held) => this.#aged(held, nowMs));
  }

  #put(rows: readonly FleetRow[], atMs: number): readonly RowChange[] {
    return rows.map((row) => {
      this.#held.set(rowId(this.#resource, row), { row, atMs });
      return { kind: "changed", row };
    });
  }

  #remove(ids: readonly string[]): readonly RowChange[] {
    return ids.flatMap((id): readonly RowChange[] => {
      const before = this.#held.get(id);
      return this.#held.delete(id) && before !== undefined
        ? [{ kind: "removed", row: before.row }]
        : [];
    });
  }

  /**
   * Rows are sent when more than their age changes. The age of one that nobody reports grows all the time,
   * that of any other only while the watch is lost: its samples go on without a word.
   */
  #aged({ row, atMs }: Held, nowMs: number): FleetRow {
    const age = numberIn(row, "age_ms");
    const sinceMs = isStaleRow(row) ? atMs : this.#lostAtMs;
    if (age === undefined || sinceMs === undefined) return row;
    return { ...row, age_ms: age + Math.max(0, nowMs - sinceMs) };
  }
}
