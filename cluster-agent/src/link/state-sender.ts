import type { AgentService, StateRequest } from "@berth/proto";
import { BerthError, type Clock } from "@berth/service-kit";
import type { CallOptions, Client } from "@connectrpc/connect";
import { AckDeadline, type AckTimes } from "./ack-deadline.ts";
import type { EventHold } from "./event-hold.ts";
import type { Outbox, OutboxBatch } from "./outbox.ts";
import type { StateBoard, StateEntry } from "./state-board.ts";
import { stateMessages } from "./state-stream.ts";

/** What {@link sendState} works with. */
export interface StateSenderOptions {
  readonly client: Client<typeof AgentService>;
  readonly call: CallOptions;
  readonly sessionId: string;
  readonly board: StateBoard;
  readonly outbox: Outbox;
  readonly eventHold: EventHold;
  readonly clock: Clock;
  /** Entries that the control-plane holds; undefined when it wants a snapshot. */
  readonly held: readonly StateEntry[] | undefined;
  /** Longest wait for an acknowledgement. */
  readonly ack: AckTimes;
  /** Called once when the control-plane holds all of the agent's state. */
  readonly onInSync: () => void;
}

/** Runs one State stream; gives why it ended, rejects when it breaks or is not acknowledged in time. */
export async function sendState(options: StateSenderOptions): Promise<string> {
  const { client, board, outbox, eventHold, clock, sessionId, held, ack, onInSync } = options;
  const late = new AbortController();
  const deadline = new AckDeadline(ack, (limitMs) => late.abort(limitMs));
  const signal = AbortSignal.any([
    late.signal,
    ...(options.call.signal ? [options.call.signal] : []),
  ]);
  const admission = admissionGate(signal);
  const batches = new Map<bigint, OutboxBatch>();
  let inSyncAt = held === undefined ? undefined : 0n;
  if (held !== undefined) onInSync();
  const messages = stateMessages({
    ...{ board, outbox, eventHold, clock, sessionId, held, signal },
    admitted: () => admission.opened,
    onSend: ({ streamSeq, snapshotEnd, batch }) => {
      if (snapshotEnd) inSyncAt = streamSeq;
      if (batch !== undefined) batches.set(streamSeq, batch);
    },
  });
  try {
    for await (const answer of client.state(timed(messages, deadline), {
      ...options.call,
      signal,
    })) {
      const { ackedStreamSeq, snapshotAdmitted, eventsRefused } = answer;
      deadline.acked(ackedStreamSeq);
      if (snapshotAdmitted) admission.open();
      if (inSyncAt !== undefined && ackedStreamSeq >= inSyncAt) onInSync();
      await settle(options, takeAcked(batches, ackedStreamSeq), eventsRefused);
    }
    return "the control-plane ended the state stream";
  } catch (thrown) {
    if (!late.signal.aborted) throw thrown;
    const message = `state was not acknowledged within ${late.signal.reason} ms`;
    throw new BerthError("DEADLINE_EXCEEDED", message, { cause: thrown });
  } finally {
    deadline.stop();
  }
}

/** The messages, each with a deadline for its acknowledgement from when it goes out. */
async function* timed(
  messages: AsyncIterable<StateRequest>,
  deadline: AckDeadline,
): AsyncGenerator<StateRequest> {
  for await (const message of messages) {
    const parts = [...message.entries, ...message.events];
    const bytes = parts.reduce((sum, { json }) => sum + Buffer.byteLength(json), 0);
    deadline.sent(message.streamSeq, bytes);
    yield message;
  }
}

/** A gate that is opened by the admission, or by the end of the stream. */
function admissionGate(signal: AbortSignal): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  signal.addEventListener("abort", () => resolve(), { once: true });
  return { opened: promise, open: resolve };
}

/** The batches that an acknowledgement tells of; they are not waited for any more. */
function takeAcked(
  batches: Map<bigint, OutboxBatch>,
  ackedStreamSeq: bigint,
): readonly OutboxBatch[] {
  const acked: OutboxBatch[] = [];
  for (const [streamSeq, batch] of batches) {
    if (streamSeq > ackedStreamSeq) break;
    batches.delete(streamSeq);
    acked.push(batch);
  }
  return acked;
}

/** Forgets events that were taken in; those that were refused, for the reason `why`, are sent again later. */
async function settle(
  { outbox, eventHold }: StateSenderOptions,
  batches: readonly OutboxBatch[],
  why: string,
): Promise<void> {
  if (batches.length === 0) return;
  for (const batch of batches) {
    if (why === "") await outbox.forget(batch);
    else outbox.release(batch);
  }
  if (why === "") eventHold.taken();
  else eventHold.refused(why);
}
