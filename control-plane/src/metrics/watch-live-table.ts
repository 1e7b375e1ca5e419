import type { Clock, Pacer } from "@berth/service-kit";
import type { FleetSnapshot } from "../fleet/cluster-view.ts";
import type { RowKind } from "./rows.ts";
import { WatchTable } from "./watch-table.ts";

/** Age up to which a look at the fleet is taken for one of now, ms. */
const FRESH_MS = 100;

/** What {@link LiveTable} needs. */
export interface LiveTableDeps {
  readonly kind: RowKind;
  readonly snapshot: () => Promise<FleetSnapshot>;
  readonly pace: Pacer;
  readonly clock: Pick<Clock, "nowMs">;
}

/** Who reads a table, and the version that it has. */
export interface TableReader {
  readonly since: number;
}

/** The rows of one kind of an org, followed as long as somebody reads them. */
export class LiveTable {
  readonly rows: WatchTable;
  readonly readers = new Set<TableReader>();
  readonly #deps: LiveTableDeps;
  readonly #ending = new AbortController();
  #looking: Promise<void> | undefined;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  constructor(deps: LiveTableDeps) {
    this.#deps = deps;
    this.rows = new WatchTable(deps.kind);
  }

  /** Resolves when the table is as the fleet was less than 0.1 s ago; who asks at the same time shares one look. */
  fresh(): Promise<void> {
    if (this.#looking !== undefined) return this.#looking;
    if (this.#deps.clock.nowMs() - this.#lookedAtMs < FRESH_MS) return Promise.resolve();
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Ends a look that is under way. */
  close(): void {
    this.#ending.abort();
  }

  async #look(): Promise<void> {
    const { snapshot, pace, clock } = this.#deps;
    const fleet = await snapshot();
    await pace.run(this.rows.take(fleet), this.#ending.signal);
    this.#lookedAtMs = clock.nowMs();
    const versions = [...this.readers].map((reader) => reader.since);
    this.rows.forgetRemovals(Math.min(...versions, this.rows.version));
  }
}
