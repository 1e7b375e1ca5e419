import { randomUUID } from "node:crypto";
import type { AgentRegisterRequest, Entry } from "@berth/proto";
import {
  BerthError,
  type Clock,
  type DuplicateWatch,
  type Logger,
  type Principal,
} from "@berth/service-kit";
import { AgentClusters } from "./agent-clusters.ts";
import {
  type AgentSession,
  type AgentStatus,
  LiveSession,
  type StreamKind,
} from "./agent-session.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { LinkNews } from "./link-news.ts";
import type { AdmittedAgent } from "./registration-judge.ts";
import { SessionBook } from "./session-book.ts";
import {
  type AdmissionLimits,
  type AdmissionTicket,
  SnapshotAdmission,
} from "./snapshot-admission.ts";
import type { StoreFence } from "./store-verdict.ts";

export type { AgentSession, AgentStatus, StreamKind } from "./agent-session.ts";

/** Time between two judgements whether a session's agent is the only one, at least. */
const JUDGE_EVERY_MS = 1_000;

/** What {@link AgentSessions} needs. */
export interface AgentSessionsDeps {
  /** Org of all agents. */
  readonly orgId: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly news: LinkNews;
  /** Hears which agents speak. */
  readonly watch: Pick<DuplicateWatch, "reports">;
  /** Silence after which a cluster counts as unreachable, ms. */
  readonly ttlMs: number;
  readonly admission: AdmissionLimits;
}

/**
 * The sessions of agents: which one is the newest of its cluster, what it has reported, and when it was
 * last heard. Clusters stay known after their agent has gone, as unreachable.
 */
export class AgentSessions {
  /** Who may send a snapshot now. */
  readonly admission: SnapshotAdmission;
  /** The clusters whose agents have registered. */
  readonly clusters = new AgentClusters();
  readonly #deps: AgentSessionsDeps;
  readonly #sessions = new SessionBook();

  constructor(deps: AgentSessionsDeps) {
    this.#deps = deps;
    const limits = { ...deps.admission, restMs: 2 * deps.ttlMs };
    this.admission = new SnapshotAdmission(limits, deps.clock);
  }

  /** Raised at each change of any view. */
  get version(): number {
    return this.clusters.version;
  }

  /**
   * Opens a session for an agent that was let in, and ends the one before it. To register says nothing about
   * the agent's streams, so the time of silence goes on; the first message ends it.
   */
  begin(request: AgentRegisterRequest, admitted: AdmittedAgent, told: StoreFence): LiveSession {
    const { orgId, clock, news } = this.#deps;
    const { clusterId } = request;
    const cluster = this.clusters.of(orgId, clusterId);
    if (admitted.isRestored) cluster.forget();
    const snapshotWanted = cluster.stateDigest !== request.stateDigest;
    const former = this.ofCluster(clusterId);
    const nowMs = clock.nowMs();
    const session = new LiveSession({
      ...{ id: randomUUID(), cluster, request, ...admitted, snapshotWanted, told },
      heardAtMs: former?.heardAtMs ?? nowMs,
      excusedUntilMs: former?.excusedUntilMs(nowMs) ?? Number.NEGATIVE_INFINITY,
    });
    this.#end(former, "a newer session of the cluster began");
    this.#sessions.add(session);
    news.registered(session);
    return session;
  }

  /** Whether any agent has a session. */
  get isAnyThere(): boolean {
    return this.#sessions.size > 0;
  }

  /** The session of a cluster. */
  ofCluster(clusterId: string): LiveSession | undefined {
    return this.#sessions.ofCluster(this.#deps.orgId, clusterId);
  }

  /** The newest session of that id; CONFLICT when it has ended, PERMISSION_DENIED for another's. */
  require(principal: Principal, sessionId: string): AgentSession {
    const session = this.#sessions.find(sessionId);
    if (session === undefined) throw ended();
    const { cluster } = session;
    if (cluster.orgId !== principal.orgId || cluster.id !== principal.agent?.id) {
      throw new BerthError("PERMISSION_DENIED", "session_id: the session is of another agent");
    }
    return session;
  }

  /**
   * Counts a stream of a session as open until the function is called. CONFLICT when the session has ended,
   * or has an open stream of this kind.
   */
  opened(session: AgentSession, kind: StreamKind): () => void {
    return this.#heard(session).openStream(kind);
  }

  /**
   * Queues a session whose snapshot is wanted; undefined when it may send changes right away. `receivedBytes`: bytes
   * that have come on its stream so far.
   */
  admit(session: AgentSession, receivedBytes: () => number): AdmissionTicket | undefined {
    const live = this.#heard(session);
    if (!live.snapshotWanted) return undefined;
    const { id, isLate } = live.cluster;
    const onOverdue = () => {
      live.cluster.tookTooLong();
      this.lose(id, "the agent did not send its snapshot in its turn");
    };
    return live.takeTicket(() => this.admission.enter({ receivedBytes, isLate, onOverdue }));
  }

  /** Takes in one message of telemetry. */
  report(session: AgentSession, entries: readonly Entry[]): void {
    const live = this.#heard(session);
    session.cluster.apply(entries);
    if (!live.snapshotWanted) this.#setLive(live);
  }

  /** Forgets nodes whose keys the whole first report of a stream did not carry. */
  keepOnly(session: AgentSession, carried: ReadonlySet<string>): void {
    this.#heard(session);
    session.cluster.keepOnly(carried);
  }

  /** Takes in changed state; `whole` replaces all state by a snapshot. CONFLICT for changes before a wanted one. */
  takeState(session: AgentSession, entries: readonly Entry[], whole: boolean): void {
    const live = this.#heard(session);
    if (whole) {
      session.cluster.replaceState(entries);
      live.snapshotWanted = false;
    } else if (live.snapshotWanted && entries.length > 0) {
      throw new BerthError("CONFLICT", "snapshot: expected the snapshot before changes of state");
    } else {
      session.cluster.apply(entries);
    }
    if (!live.snapshotWanted) this.#setLive(live);
  }

  /** A snapshot cannot be taken: what is held of its cluster is not known to be true any more. */
  snapshotRefused(session: AgentSession, why: string): void {
    if (this.#sessions.find(session.id) === undefined) return;
    this.lose(session.cluster.id, `the agent's snapshot was refused: ${why}`);
  }

  /** Marks clusters whose agents have been silent for their TTL. Called by a timer. */
  expire(): void {
    const countsFromMs = this.admission.silenceCountsFromMs;
    if (countsFromMs === undefined) return;
    const now = this.#deps.clock.nowMs();
    for (const session of this.#sessions.all()) {
      const excusedUntilMs = Math.max(session.excusedUntilMs(now), countsFromMs);
      const silentMs = now - Math.max(session.heardAtMs, excusedUntilMs);
      if (silentMs > this.#deps.ttlMs) {
        this.lose(session.cluster.id, "the agent has been silent");
      }
    }
  }

  /** Views of the clusters of an org that an agent has described. */
  views(orgId: string): readonly ClusterView[] {
    return this.clusters.views(orgId);
  }

  /** Whether an agent of the cluster has registered since our start. */
  knows(orgId: string, clusterId: string): boolean {
    return this.clusters.has(orgId, clusterId);
  }

  /** Agents of an org that have a session, by cluster id. */
  status(orgId: string): readonly AgentStatus[] {
    const nowMs = this.#deps.clock.nowMs();
    return this.#sessions
      .all()
      .filter((session) => session.cluster.orgId === orgId)
      .map((session) => session.status(nowMs))
      .sort((a, b) => (a.clusterId < b.clusterId ? -1 : 1));
  }

  /** Ends the sessions that a condition holds for; their agents register again. */
  endAll(orgId: string, reason: string, holds: (status: AgentStatus) => boolean): void {
    const nowMs = this.#deps.clock.nowMs();
    for (const session of this.#sessions.all()) {
      if (session.cluster.orgId === orgId && holds(session.status(nowMs))) {
        this.#end(session, reason);
      }
    }
  }

  /** The cluster has no agent from now on: ends its session, if there is one. */
  lose(clusterId: string, reason: string): void {
    const { orgId, news } = this.#deps;
    const session = this.ofCluster(clusterId);
    if (!this.clusters.has(orgId, clusterId)) return;
    const isNews = this.clusters.of(orgId, clusterId).setHealth("unreachable");
    if (isNews) news.lost(clusterId, reason);
    this.#end(session, reason);
  }

  /** Forgets a cluster that has no session; gives whether it was known. */
  forget(clusterId: string): boolean {
    return this.clusters.forget(this.#deps.orgId, clusterId);
  }

  /** Ends every session, at shutdown. */
  close(): void {
    for (const session of this.#sessions.all()) this.#end(session, "shutting down");
    this.admission.close();
  }

  /** The session, which was heard now. CONFLICT when it has ended, or ends as another agent is there too. */
  #heard(session: AgentSession): LiveSession {
    const { clock, logger, watch } = this.#deps;
    const live = this.#sessions.find(session.id);
    if (live === undefined) throw ended();
    const nowMs = clock.nowMs();
    live.heardAtMs = nowMs;
    live.cluster.heard(nowMs);
    if (live.isJudgementDue(nowMs, JUDGE_EVERY_MS)) {
      const clusterId = live.cluster.id;
      // The verdict is there at once; only what the store keeps of it takes time.
      watch.reports(clusterId).catch((err: unknown) => {
        logger.error("a standing was not written", { cluster_id: clusterId, err });
      });
      live.signal.throwIfAborted();
    }
    return live;
  }

  #setLive(session: AgentSession): void {
    if (session.cluster.setHealth("live")) this.#deps.news.live(session.cluster.id);
  }

  #end(session: LiveSession | undefined, reason: string): void {
    if (session === undefined || !this.#sessions.remove(session)) return;
    session.end(new BerthError("CONFLICT", `the session has ended: ${reason}`));
  }
}

function ended(): BerthError {
  return new BerthError("CONFLICT", "session_id: this session has ended; register again");
}
