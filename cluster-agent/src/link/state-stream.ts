import { type Entry, EntrySchema, type StateRequest, StateRequestSchema } from "@berth/proto";
import type { Clock } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { chunked } from "./chunks.ts";
import type { StateBoard, StateEntry } from "./state-board.ts";

/** What {@link stateMessages} sends from. */
export interface StateStreamOptions {
  readonly board: StateBoard;
  readonly clock: Clock;
  readonly sessionId: string;
  /**
   * The entries whose digest was registered when the control-plane has taken them in; undefined when it
   * wants a snapshot.
   */
  readonly held: readonly StateEntry[] | undefined;
  /** Ends the stream. */
  readonly signal: AbortSignal;
  /** Told of each message before it goes out. */
  readonly onSend: (streamSeq: bigint) => void;
}

/**
 * Messages of one State stream: the snapshot when it is wanted, then the newest value of each key that
 * changed. The transport pulls, so between two messages older values are replaced, not queued. What a
 * broken stream left unacknowledged is sent again, as the next registration's digest differs.
 */
export async function* stateMessages(options: StateStreamOptions): AsyncGenerator<StateRequest> {
  const { board, signal, held } = options;
  const sent = new Map<string, bigint>();
  let streamSeq = 0n;
  const message = (entries: readonly StateEntry[], snapshot: boolean, snapshotEnd: boolean) => {
    streamSeq += 1n;
    for (const entry of entries) sent.set(entry.key, entry.revision);
    options.onSend(streamSeq);
    const wire = entries.map((entry) => toWire(entry, options.clock.nowMs()));
    const { sessionId } = options;
    return create(StateRequestSchema, {
      sessionId,
      streamSeq,
      entries: wire,
      snapshot,
      snapshotEnd,
    });
  };
  if (held === undefined) {
    const chunks = chunked(board.entries());
    for (const [index, chunk] of chunks.entries()) {
      yield message(chunk, true, index === chunks.length - 1);
    }
  } else {
    for (const entry of held) sent.set(entry.key, entry.revision);
  }
  while (!signal.aborted) {
    const changed = board.entries().filter((entry) => sent.get(entry.key) !== entry.revision);
    if (changed.length === 0) await board.changed(signal);
    else for (const chunk of chunked(changed)) yield message(chunk, false, false);
  }
}

function toWire({ key, revision, json, changedAtMs }: StateEntry, nowMs: number): Entry {
  const ageMs = Math.min(2 ** 32 - 1, Math.max(0, Math.round(nowMs - changedAtMs)));
  return create(EntrySchema, { key, revision, deleted: false, json, ageMs });
}

/** Calls `onLate` when a sent message is not acknowledged within a limit. */
export class AckDeadline {
  readonly #limitMs: number;
  readonly #onLate: () => void;
  #sent = 0n;
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: number, onLate: () => void) {
    this.#limitMs = limitMs;
    this.#onLate = onLate;
  }

  sent(streamSeq: bigint): void {
    this.#sent = streamSeq;
    this.#timer ??= setTimeout(this.#onLate, this.#limitMs);
  }

  acked(streamSeq: bigint): void {
    this.stop();
    if (streamSeq < this.#sent) this.#timer = setTimeout(this.#onLate, this.#limitMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
