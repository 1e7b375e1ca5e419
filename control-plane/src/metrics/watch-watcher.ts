import { type Clock, sleep } from "@berth/service-kit";
import type { RowFilter } from "./rows.ts";
import { type FrameShelf, framePieces } from "./watch-frames.ts";
import type { LiveTable, TableReader } from "./watch-live-table.ts";

const HEARTBEAT = Buffer.from('{"type":"heartbeat"}\n');
/** Timers may fire a little early. */
const TIMER_SLACK_MS = 1;
/** Watchers that ask for the same within this time share a frame and its ages. */
const SAME_MOMENT_MS = 500;

/** What a {@link Watcher} needs. */
export interface WatcherDeps {
  readonly live: LiveTable;
  /** Names the table among all. */
  readonly tableKey: string;
  readonly shelf: FrameShelf;
  readonly clock: Pick<Clock, "nowMs">;
  readonly filter: RowFilter;
  /** Least time between two lines of changes. */
  readonly intervalMs: number;
  /** Time without a line after which one says that the watch goes on. */
  readonly heartbeatMs: number;
  /** Time that a reader may take for one piece. */
  readonly stallMs: number;
  /** The reader took longer. */
  readonly onStall: () => void;
  /** Called once, when nothing is held any more. */
  readonly onEnd: () => void;
}

/** One watch: a snapshot, then what changes. */
export class Watcher implements TableReader {
  #since = 0;
  #lineAtMs = 0;
  readonly #deps: WatcherDeps;
  readonly #ending = new AbortController();

  constructor(deps: WatcherDeps) {
    this.#deps = deps;
  }

  /** Version of the table that the reader has; 0 before the first line. */
  get since(): number {
    return this.#since;
  }

  /** Ends the lines, and frees what the watch holds; more than one call is the same as one. */
  close(): void {
    if (this.#ending.signal.aborted) return;
    this.#ending.abort();
    this.#deps.onEnd();
  }

  /**
   * The lines, as pieces of at most some 64 KiB. The next is made when the one before is asked for further, so a
   * slow reader gets fewer lines, each with the newest state. Ends when the watch is closed.
   */
  async *lines(): AsyncGenerator<Buffer, void> {
    const { clock, intervalMs, heartbeatMs, live } = this.#deps;
    const { signal } = this.#ending;
    let tickMs = clock.nowMs();
    this.#lineAtMs = tickMs;
    try {
      while (!signal.aborted) {
        if (clock.nowMs() >= tickMs - TIMER_SLACK_MS) {
          await live.fresh();
          yield* this.#news();
          // Watchers of the same interval have their ticks together, and so share what is made.
          tickMs = (Math.round(clock.nowMs() / intervalMs) + 1) * intervalMs;
        }
        if (clock.nowMs() >= this.#lineAtMs + heartbeatMs - TIMER_SLACK_MS) {
          yield* this.#give(HEARTBEAT);
        }
        const nextMs = Math.min(tickMs, this.#lineAtMs + heartbeatMs);
        await sleep(Math.max(0, nextMs - clock.nowMs()), signal);
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
    } finally {
      this.close();
    }
  }

  async *#news(): AsyncGenerator<Buffer, void> {
    const { live, tableKey, shelf, clock, filter } = this.#deps;
    const { rows } = live;
    const since = rows.hasForgotten(this.#since) ? 0 : this.#since;
    const { version } = rows;
    if (since === version || this.#ending.signal.aborted) return;
    const nowMs = clock.nowMs();
    const { cluster, node, state } = filter;
    const moment = Math.round(nowMs / SAME_MOMENT_MS);
    const key = JSON.stringify([tableKey, since, version, moment, { cluster, node, state }]);
    const frame = shelf.open(key, () => framePieces(rows, { since, filter, nowMs }));
    try {
      for (let index = 0; ; index += 1) {
        const piece = await frame.piece(index);
        if (piece === undefined) break;
        yield* this.#give(piece);
      }
    } finally {
      frame.release();
    }
    this.#since = version;
  }

  *#give(piece: Buffer): Generator<Buffer, void> {
    const { clock, onStall, stallMs } = this.#deps;
    const stall = setTimeout(onStall, stallMs);
    try {
      yield piece;
    } finally {
      clearTimeout(stall);
    }
    this.#lineAtMs = clock.nowMs();
  }
}
