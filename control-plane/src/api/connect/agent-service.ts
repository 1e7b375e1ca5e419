import {
  type AgentReportRequest,
  type AgentReportResponse,
  AgentService,
  type Entry,
  type StateRequest,
  type StateResponse,
} from "@berth/proto";
import { type Authenticate, BerthError, type Principal, toConnectError } from "@berth/service-kit";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import type { AgentSession, AgentSessions } from "../../fleet/agent-sessions.ts";

/** Largest message of an agent: a cluster document of 10,000 nodes fits. */
export const MAX_AGENT_MESSAGE_BYTES = 16 * 1024 * 1024;

const MAX_SNAPSHOT_ENTRIES = 10_000;
const MAX_SNAPSHOT_CHARACTERS = 64 * 1024 * 1024;
/** Longest wait for the first message of a stream, which names its session. */
const FIRST_MESSAGE_LIMIT_MS = 10_000;

/** What {@link agentRoutes} needs. */
export interface AgentServiceDeps {
  readonly agents: AgentSessions;
  readonly authenticate: Authenticate;
  /** Store id and term of this control-plane. */
  readonly store: { readonly storeId: string; readonly controllerTerm: bigint };
}

/** Serves berth.agent.v1.AgentService on a Connect router. */
export function agentRoutes(router: ConnectRouter, deps: AgentServiceDeps): void {
  const principalOf = (context: HandlerContext): Principal => {
    return deps.authenticate({
      authorization: context.requestHeader.get("authorization") ?? undefined,
    });
  };
  router.service(AgentService, {
    async register(request, context) {
      const registration = await deps.agents.register(principalOf(context), request);
      return {
        sessionId: registration.session.id,
        fence: { ...deps.store, agentIncarnation: registration.session.incarnation },
        reportIntervalMs: registration.reportIntervalMs,
        ttlMs: registration.ttlMs,
        snapshotWanted: registration.snapshotWanted,
      };
    },
    report: (requests, context) => takeReports(deps.agents, principalOf(context), requests),
    state: (requests, context) => takeState(deps.agents, principalOf(context), requests),
  });
}

type ReportReply = Omit<AgentReportResponse, "$typeName" | "$unknown">;
type StateReply = Omit<StateResponse, "$typeName" | "$unknown">;

async function takeReports(
  agents: AgentSessions,
  principal: Principal,
  requests: AsyncIterable<AgentReportRequest>,
): Promise<ReportReply> {
  for await (const { request, session } of fenced(agents, principal, requests)) {
    agents.report(session, request.entries, request.streamSeq === 1n);
  }
  return { reason: "the agent closed the stream" };
}

async function* takeState(
  agents: AgentSessions,
  principal: Principal,
  requests: AsyncIterable<StateRequest>,
): AsyncGenerator<StateReply> {
  let snapshot: Entry[] = [];
  let characters = 0;
  try {
    for await (const { request, session } of fenced(agents, principal, requests)) {
      if (request.snapshot) {
        snapshot = snapshot.concat(request.entries);
        characters += request.entries.reduce((sum, { json }) => sum + json.length, 0);
        if (snapshot.length > MAX_SNAPSHOT_ENTRIES || characters > MAX_SNAPSHOT_CHARACTERS) {
          const message = `entries: a snapshot holds at most ${MAX_SNAPSHOT_ENTRIES} entries and ${MAX_SNAPSHOT_CHARACTERS} characters`;
          throw new BerthError("INVALID_ARGUMENT", message);
        }
        if (request.snapshotEnd) {
          agents.takeState(session, snapshot, true);
          snapshot = [];
          characters = 0;
        }
      } else {
        agents.takeState(session, request.entries, false);
      }
      yield { ackedStreamSeq: request.streamSeq, snapshotAdmitted: false };
    }
  } catch (thrown) {
    // Interceptors do not see what a server stream throws after its first message.
    throw toConnectError(thrown);
  }
}

interface FencedMessage<T> {
  readonly request: T;
  readonly session: AgentSession;
}

/** Messages of the newest session, in sequence; throws when the session ends or a number is skipped. */
async function* fenced<T extends { sessionId: string; streamSeq: bigint }>(
  agents: AgentSessions,
  principal: Principal,
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
    session = agents.require(principal, request.sessionId);
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
