import type { Pacer } from "@berth/service-kit";
import { BerthError, type Clock } from "@berth/service-kit";
import type { ClusterRegistry } from "../fleet/cluster-registry.ts";
import type { RowFilter, RowKind } from "./rows.ts";
import { FrameShelf } from "./watch-frames.ts";
import { LiveTable } from "./watch-live-table.ts";
import { WatchTurns } from "./watch-turns.ts";
import { Watcher } from "./watch-watcher.ts";

/** Bounds of {@link WatchHub}. */
export interface WatchLimits {
  readonly maxWatchers: number;
  /** Time without a line after which one says that the watch goes on, ms. */
  readonly heartbeatMs: number;
  /** Time that a reader may take for a piece of at most some 64 KiB, ms. */
  readonly stallMs: number;
  /** Bytes of lines that are kept for slow readers. */
  readonly maxFrameBytes: number;
}

/** The bounds that hold by default. */
export const WATCH_LIMITS: WatchLimits = {
  maxWatchers: 100,
  heartbeatMs: 10_000,
  stallMs: 60_000,
  maxFrameBytes: 64 * 1024 * 1024,
};

/** A piece goes out to so many readers at once: it takes some 0.1 ms for each. */
const READERS_PER_TURN = 25;
/** So many watches begin at once, when many clients come together. */
const OPENINGS_PER_TURN = 4;

/** What {@link WatchHub} needs. */
export interface WatchHubDeps {
  readonly clusters: Pick<ClusterRegistry, "snapshot">;
  readonly pace: Pacer;
  readonly clock: Pick<Clock, "nowMs">;
  readonly limits?: Partial<WatchLimits>;
}

/** What is to be watched. */
export interface WatchRequest {
  readonly orgId: string;
  readonly kind: RowKind;
  readonly filter: RowFilter;
  /** Least time between two lines of changes, ms. */
  readonly intervalMs: number;
  /** Called when the reader takes no more; who calls is to end it. */
  readonly onStall: () => void;
}

/** A watch that was taken on. */
export type Watch = Pick<Watcher, "lines" | "close">;

/**
 * Everybody who watches the fleet. The rows of one kind are worked out once for all who watch them, only when
 * somebody does, and only for what has changed.
 */
export class WatchHub {
  readonly #deps: WatchHubDeps;
  readonly #limits: WatchLimits;
  readonly #watchers = new Set<Watcher>();
  readonly #tables = new Map<string, LiveTable>();
  readonly #shelf: FrameShelf;
  readonly #openings = new WatchTurns(OPENINGS_PER_TURN);
  #isClosed = false;

  constructor(deps: WatchHubDeps) {
    const pieces = new WatchTurns(1);
    const readers = new WatchTurns(READERS_PER_TURN);
    this.#deps = deps;
    this.#limits = { ...WATCH_LIMITS, ...deps.limits };
    this.#shelf = new FrameShelf({
      maxBytes: this.#limits.maxFrameBytes,
      turn: () => pieces.take(),
      handOver: () => readers.take(),
    });
  }

  /** Number of watchers. */
  get size(): number {
    return this.#watchers.size;
  }

  /** Number of tables that are kept for them. */
  get tables(): number {
    return this.#tables.size;
  }

  /** Resolves when the next watch may begin: a crowd that comes at once does not hold up everything else. */
  opening(): Promise<void> {
    return this.#openings.take();
  }

  /** Takes a watch on, until it is closed. OVERLOADED when there are too many, UNAVAILABLE at shutdown. */
  open({ orgId, kind, filter, intervalMs, onStall }: WatchRequest): Watch {
    const { maxWatchers, heartbeatMs, stallMs } = this.#limits;
    if (this.#isClosed) throw new BerthError("UNAVAILABLE", "the control-plane is shutting down");
    if (this.#watchers.size >= maxWatchers) {
      const message = `${maxWatchers} watches are open, which is the most; close one and try again, or ask for the list from time to time`;
      throw new BerthError("OVERLOADED", message);
    }
    const tableKey = `${kind}/${orgId}`;
    const live = this.#tableOf(tableKey, kind, orgId);
    const watcher = new Watcher({
      ...{ live, tableKey, filter, intervalMs, heartbeatMs, stallMs, onStall },
      ...{ shelf: this.#shelf, clock: this.#deps.clock },
      onEnd: () => {
        this.#watchers.delete(watcher);
        live.readers.delete(watcher);
        if (live.readers.size > 0) return;
        live.close();
        this.#tables.delete(tableKey);
      },
    });
    this.#watchers.add(watcher);
    live.readers.add(watcher);
    return watcher;
  }

  /** Ends every watch, at shutdown; its reader sees the end of the lines. */
  close(): void {
    this.#isClosed = true;
    for (const watcher of this.#watchers) watcher.close();
  }

  #tableOf(key: string, kind: RowKind, orgId: string): LiveTable {
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const { clusters, pace, clock } = this.#deps;
    const live = new LiveTable({ kind, snapshot: () => clusters.snapshot(orgId), pace, clock });
    this.#tables.set(key, live);
    return live;
  }
}
