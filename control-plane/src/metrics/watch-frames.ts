import { type RowFilter, rowText } from "./rows.ts";
import { mayHaveBeen } from "./watch-row.ts";
import type { WatchTable } from "./watch-table.ts";

/** Characters of a piece of a frame, about: what is written at once. */
const PIECE_CHARACTERS = 64 * 1024;

/** What a frame tells. */
export interface FrameQuery {
  /** Version of the table that the reader has; 0: nothing, so it gets a snapshot. */
  readonly since: number;
  readonly filter: RowFilter;
  /** The moment for the ages. */
  readonly nowMs: number;
}

/**
 * One line for a watcher, in pieces: `{"type":"snapshot","rows":[…]}`, or `{"type":"changes","changed":[…],
 * "removed":[…]}` when something has changed and nothing at all otherwise. A row that has left the state of the
 * filter counts as removed. `"truncated":true` says that rows are left out because there are too many.
 */
export function* framePieces(table: WatchTable, query: FrameQuery): Generator<string, void> {
  const { since, filter, nowMs } = query;
  const frame = new FrameText(since === 0);
  for (const news of table.since(since, filter)) {
    if (news.kind === "removed") frame.addRemoved(news.id);
    else if (filter.state === undefined || news.row.state === filter.state) {
      frame.addRow(rowText(news.row.stem, news.row.born, nowMs));
    } else if (mayHaveBeen(news.row, filter.state, since)) frame.addRemoved(news.row.id);
    if (frame.length >= PIECE_CHARACTERS) yield frame.take();
  }
  frame.end(table.isTruncated);
  if (frame.length > 0) yield frame.take();
}

/** The text of a frame as it grows. */
class FrameText {
  readonly #isSnapshot: boolean;
  readonly #removed: string[] = [];
  #rows = 0;
  #text = "";

  constructor(isSnapshot: boolean) {
    this.#isSnapshot = isSnapshot;
  }

  /** Characters that were not taken yet. */
  get length(): number {
    return this.#text.length;
  }

  addRow(text: string): void {
    this.#text += `${this.#rows === 0 ? this.#begin() : ","}${text}`;
    this.#rows += 1;
  }

  addRemoved(id: string): void {
    if (!this.#isSnapshot) this.#removed.push(id);
  }

  end(isTruncated: boolean): void {
    const isNothing = this.#rows === 0 && this.#removed.length === 0;
    if (isNothing && !this.#isSnapshot) return;
    const begin = this.#rows === 0 ? this.#begin() : "";
    const removed = this.#isSnapshot ? "" : `,"removed":${JSON.stringify(this.#removed)}`;
    this.#text += `${begin}]${removed}${isTruncated ? ',"truncated":true' : ""}}\n`;
  }

  take(): string {
    const text = this.#text;
    this.#text = "";
    return text;
  }

  #begin(): string {
    return this.#isSnapshot ? '{"type":"snapshot","rows":[' : '{"type":"changes","changed":[';
  }
}

/** A frame that several watchers read, each at its own pace. */
export interface Frame {
  /** Piece by position; undefined behind the last. */
  piece(index: number): Promise<Buffer | undefined>;
  /** This reader reads no further. Called once. */
  release(): void;
}

/** What a {@link FrameShelf} needs. */
export interface FrameShelfOptions {
  /** Most bytes of pieces that are kept for other readers. */
  readonly maxBytes: number;
  /** Resolves when the next piece may be made, so that pieces do not hold up everything else. */
  readonly turn: () => Promise<void>;
  /** Resolves when the next of several readers may have a piece: writing it to all at once takes long. */
  readonly handOver: () => Promise<void>;
}

/**
 * Frames that are being read: watchers who ask for the same at the same time share one, which is made once. When
 * slow readers hold too much of what was made, others get frames of their own, of which only one piece is kept.
 */
export class FrameShelf {
  readonly #options: FrameShelfOptions;
  readonly #shared = new Map<string, SharedFrame>();
  #bytes = 0;

  constructor(options: FrameShelfOptions) {
    this.#options = options;
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A frame: the one that others read under the key, or a new one. */
  open(key: string, make: () => Generator<string, void>): Frame {
    const { maxBytes, turn, handOver } = this.#options;
    const known = this.#shared.get(key);
    if (known === undefined && this.#bytes >= maxBytes) return new OwnFrame(make(), turn);
    const frame = known ?? new SharedFrame(make(), turn, (bytes) => this.#keep(bytes));
    this.#shared.set(key, frame);
    frame.readers += 1;
    return {
      async piece(index) {
        const piece = await frame.piece(index);
        if (frame.readers > 1) await handOver();
        return piece;
      },
      release: () => {
        frame.readers -= 1;
        if (frame.readers > 0) return;
        this.#keep(-frame.bytes);
        if (this.#shared.get(key) === frame) this.#shared.delete(key);
      },
    };
  }

  #keep(bytes: number): void {
    this.#bytes += bytes;
  }
}

class SharedFrame {
  readers = 0;
  bytes = 0;
  readonly #pieces: Buffer[] = [];
  readonly #source: Generator<string, void>;
  readonly #turn: () => Promise<void>;
  readonly #onBytes: (bytes: number) => void;
  #making: Promise<void> | undefined;
  #isWhole = false;

  constructor(
    source: Generator<string, void>,
    turn: () => Promise<void>,
    onBytes: (bytes: number) => void,
  ) {
    this.#source = source;
    this.#turn = turn;
    this.#onBytes = onBytes;
  }

  async piece(index: number): Promise<Buffer | undefined> {
    while (index >= this.#pieces.length && !this.#isWhole) {
      this.#making ??= this.#make();
      await this.#making;
    }
    return this.#pieces[index];
  }

  async #make(): Promise<void> {
    try {
      await this.#turn();
      const { done, value } = this.#source.next();
      if (done === true) this.#isWhole = true;
      else this.#add(Buffer.from(value));
    } finally {
      this.#making = undefined;
    }
  }

  #add(piece: Buffer): void {
    this.#pieces.push(piece);
    // Nobody is there to give them back after the last reader has gone.
    if (this.readers === 0) return;
    this.bytes += piece.length;
    this.#onBytes(piece.length);
  }
}

class OwnFrame implements Frame {
  readonly #source: Generator<string, void>;
  readonly #turn: () => Promise<void>;

  constructor(source: Generator<string, void>, turn: () => Promise<void>) {
    this.#source = source;
    this.#turn = turn;
  }

  async piece(): Promise<Buffer | undefined> {
    await this.#turn();
    const { done, value } = this.#source.next();
    return done === true ? undefined : Buffer.from(value);
  }

  release(): void {
    this.#source.return();
  }
}
