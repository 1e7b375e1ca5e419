import { BerthError, type Principal } from "@berth/service-kit";
import type { AgentSession, StreamKind } from "../../fleet/agent-session.ts";
import type { AgentSessions } from "../../fleet/agent-sessions.ts";
import type { FleetEvents } from "../../fleet/fleet-events.ts";

/** Longest wait for the first message of a stream, which names its session. */
const FIRST_MESSAGE_LIMIT_MS = 10_000;

/** What takes in one stream of an agent. */
export interface Intake {
  readonly agents: AgentSessions;
  readonly events: FleetEvents;
  readonly principal: Principal;
  /** Bytes that have come on the stream. */
  readonly receivedBytes: () => number;
  /** Aborted when the call is over, however it ends. */
  readonly signal: AbortSignal;
}

/** One message that may be taken in. */
export interface FencedMessage<T> {
  readonly request: T;
  readonly session: AgentSession;
}

/**
 * Messages of the newest session, in sequence; throws when the session ends, is another agent's, has a
 * stream of the kind already, or a number is skipped.
 */
export async function* fencedMessages<T extends { sessionId: string; streamSeq: bigint }>(
  { agents, principal, signal: over }: Intake,
  kind: Exclude<StreamKind, "commands">,
  requests: AsyncIterable<T>,
): AsyncGenerator<FencedMessage<T>> {
  const iterator = requests[Symbol.asyncIterator]();
  let session: AgentSession | undefined;
  for (let expected = 1n; ; expected += 1n) {
    // Once a message has named the session, the session's own end bounds the wait.
    const signal = session?.signal ?? AbortSignal.timeout(FIRST_MESSAGE_LIMIT_MS);
    const next = await nextOrEnd(iterator, signal);
    if (next.done === true) return;
    const request = next.value;
    const owner = agents.require(principal, request.sessionId);
    if (session !== undefined && owner !== session) {
      throw new BerthError("CONFLICT", "session_id: expected the session of the first message");
    }
    if (session === undefined) {
      // A call that has ended meanwhile would hold the session's only place for this kind for ever.
      over.throwIfAborted();
      over.addEventListener("abort", agents.opened(owner, kind), { once: true });
    }
    session = owner;
    if (request.streamSeq !== expected) {
      const message = `stream_seq: expected ${expected}, got ${request.streamSeq}`;
      throw new BerthError("CONFLICT", message);
    }
    yield { request, session };
  }
}

async function nextOrEnd<T>(
  iterator: AsyncIterator<T>,
  signal: AbortSignal,
): Promise<IteratorResult<T>> {
  signal.throwIfAborted();
  const ended = Promise.withResolvers<never>();
  const stop = () => ended.reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([iterator.next(), ended.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
