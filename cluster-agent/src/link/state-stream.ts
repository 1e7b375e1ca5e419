import {
  type Entry,
  EntrySchema,
  EventSchema,
  type StateRequest,
  StateRequestSchema,
} from "@berth/proto";
import type { Clock } from "@berth/service-kit";
import { create } from "@bufbuild/protobuf";
import { chunked } from "./chunks.ts";
import type { EventHold } from "./event-hold.ts";
import type { Outbox, OutboxBatch } from "./outbox.ts";
import { inKeyOrder, type StateBoard, type StateEntry } from "./state-board.ts";
import { firstWakeup } from "./wakeup.ts";

/** What {@link stateMessages} sends from. */
export interface StateStreamOptions {
  readonly board: StateBoard;
  readonly outbox: Outbox;
  /** While it is on no events are sent: they are not taken in, or not for this control-plane. */
  readonly eventHold: EventHold;
  readonly clock: Clock;
  readonly sessionId: string;
  /**
   * The entries whose digest was registered when the control-plane has taken them in; undefined when it
   * wants a snapshot.
   */
  readonly held: readonly StateEntry[] | undefined;
  /** Resolves when the snapshot may be sent, or when the stream ends. */
  readonly admitted: () => Promise<void>;
  /** Ends the stream. */
  readonly signal: AbortSignal;
  /** Told of each message before it goes out. */
  readonly onSend: (sent: SentState) => void;
}

/** A message that goes out. */
export interface SentState {
  readonly streamSeq: bigint;
  /** The message ends the snapshot. */
  readonly snapshotEnd: boolean;
  /** Events in it, which the acknowledgement lets the outbox forget. */
  readonly batch: OutboxBatch | undefined;
}

/** An entry as it is sent; of one that is gone the text is empty. */
type SentEntry = StateEntry & { readonly deleted?: true };

type StatePart = Partial<Pick<StateRequest, "snapshot" | "snapshotEnd">> & {
  readonly entries?: readonly SentEntry[];
  readonly batch?: OutboxBatch;
};

/**
 * Messages of one State stream: an empty one that opens it, the snapshot when it is wanted and admitted,
 * then the newest value of each key that changed, and events. The transport pulls, so between two
 * messages older values are replaced, not queued. What a broken stream left unacknowledged is sent
 * again: state as the next registration's digest differs, events as the outbox still holds them.
 */
export async function* stateMessages(options: StateStreamOptions): AsyncGenerator<StateRequest> {
  const { board, signal, held } = options;
  const stream = new StateStream(options);
  // The first message names the session: the wait for admission begins with it.
  yield stream.message({});
  if (held === undefined) yield* snapshotMessages(stream, options);
  else stream.holds(held);
  while (!signal.aborted) {
    const batch = await nextEvents(options);
    if (batch !== undefined) yield stream.message({ batch });
    const changed = stream.changed(board);
    for (const entries of chunked(changed)) {
      if (entries.length > 0) yield stream.message({ entries });
    }
    if (changed.length === 0 && !hasEvents(options)) await changes(options);
  }
}

/** Whether there are events to send now. */
function hasEvents({ outbox, eventHold }: StateStreamOptions): boolean {
  return outbox.hasUnsent && !eventHold.isOn;
}

async function nextEvents(options: StateStreamOptions): Promise<OutboxBatch | undefined> {
  return hasEvents(options) ? await options.outbox.nextBatch() : undefined;
}

async function* snapshotMessages(
  stream: StateStream,
  { board, signal, admitted }: StateStreamOptions,
): AsyncGenerator<StateRequest> {
  await admitted();
  if (signal.aborted) return;
  const chunks = chunked(board.entries());
  for (const [index, entries] of chunks.entries()) {
    const snapshotEnd = index === chunks.length - 1;
    yield stream.message({ entries, snapshot: true, snapshotEnd });
  }
}

/** What one stream has sent so far. */
class StateStream {
  readonly #options: StateStreamOptions;
  readonly #sent = new Map<string, bigint>();
  #seq = 0n;

  constructor(options: StateStreamOptions) {
    this.#options = options;
  }

  /** The control-plane has these entries already. */
  holds(entries: readonly SentEntry[]): void {
    for (const { key, revision, deleted } of entries) {
      if (deleted === true) this.#sent.delete(key);
      else this.#sent.set(key, revision);
    }
  }

  /** What the control-plane does not have in this revision, or not any more, in key order. */
  changed(board: StateBoard): readonly SentEntry[] {
    const changed: SentEntry[] = [];
    let present = 0;
    for (const entry of board.all()) {
      const sent = this.#sent.get(entry.key);
      if (sent !== undefined) present += 1;
      if (sent !== entry.revision) changed.push(entry);
    }
    if (present < this.#sent.size) changed.push(...this.#gone(board));
    return inKeyOrder(changed);
  }

  #gone(board: StateBoard): readonly SentEntry[] {
    const { revision } = board;
    const changedAtMs = this.#options.clock.nowMs();
    const gone = [...this.#sent.keys()].filter((key) => !board.has(key));
    return gone.map((key) => ({ key, revision, changedAtMs, json: "", deleted: true }));
  }

  /** The next message. */
  message({ entries = [], batch, snapshot = false, snapshotEnd = false }: StatePart): StateRequest {
    const { sessionId, clock, onSend } = this.#options;
    this.#seq += 1n;
    const streamSeq = this.#seq;
    this.holds(entries);
    onSend({ streamSeq, snapshotEnd, batch });
    const nowMs = clock.nowMs();
    return create(StateRequestSchema, {
      ...{ sessionId, streamSeq, snapshot, snapshotEnd },
      entries: entries.map((entry) => toWire(entry, nowMs)),
      events: (batch?.events ?? []).map(({ ageMs, ...event }) =>
        create(EventSchema, { ...event, ageMs: BigInt(ageMs) }),
      ),
    });
  }
}

/** Resolves when there is something to send, or when the stream ends. */
function changes({ board, outbox, eventHold, signal }: StateStreamOptions): Promise<void> {
  return firstWakeup(signal, [
    (either) => board.changed(either),
    (either) => outbox.changed(either),
    (either) => eventHold.changed(either),
  ]);
}

function toWire(entry: SentEntry, nowMs: number): Entry {
  const { key, revision, json, changedAtMs, deleted = false } = entry;
  const ageMs = Math.min(2 ** 32 - 1, Math.max(0, Math.round(nowMs - changedAtMs)));
  return create(EntrySchema, { key, revision, deleted, json, ageMs });
}
