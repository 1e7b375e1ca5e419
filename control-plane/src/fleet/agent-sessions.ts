import { randomUUID } from "node:crypto";
import type { AgentRegisterRequest, Entry } from "@berth/proto";
import {
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  type Principal,
} from "@berth/service-kit";
import { AgentBindings } from "./agent-bindings.ts";
import { AgentCluster } from "./agent-cluster.ts";
import { type AgentSession, type AgentStatus, LiveSession } from "./agent-session.ts";
import { checkRegister, judgeCredential } from "./check-register.ts";
import type { ClusterView } from "./cluster-view.ts";
import type { FleetStores } from "./fleet-stores.ts";
import type { LinkEvent, LinkEventKind } from "./link-event.ts";
import {
  ADMISSION_LIMITS,
  type AdmissionLimits,
  type AdmissionTicket,
  SnapshotAdmission,
} from "./snapshot-admission.ts";

export type { AgentSession, AgentStatus } from "./agent-session.ts";

/** What Register answers. */
export interface Registration {
  readonly session: AgentSession;
  /** Time between two telemetry reports, ms. */
  readonly reportIntervalMs: number;
  /** Silence after which the cluster counts as unreachable, ms. */
  readonly ttlMs: number;
  readonly snapshotWanted: boolean;
}

/** What {@link AgentSessions} needs. */
export interface AgentSessionsDeps {
  readonly store: DocumentStore;
  readonly stores: FleetStores;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time between two telemetry reports that agents are told, ms. */
  readonly reportIntervalMs: number;
  /** Silence after which a cluster counts as unreachable, ms. */
  readonly ttlMs: number;
  /** Frees the id of a cluster at the enrolment; gives whether it was bound. */
  readonly forgetKey: (clusterId: string) => Promise<boolean>;
  /** Hears what happens on the links; must not throw. */
  readonly onEvent: (event: LinkEvent) => void;
  /** 32 snapshots at once by default. */
  readonly admission?: AdmissionLimits;
}

/**
 * The agents' side of the fleet: who registered, which session is the newest, what it has reported,
 * and when it was last heard. Clusters stay known after their agent has gone, as unreachable.
 */
export class AgentSessions {
  /** Who may send a snapshot now. */
  readonly admission: SnapshotAdmission;
  readonly #deps: AgentSessionsDeps;
  readonly #bindings: AgentBindings;
  readonly #clusters = new Map<string, AgentCluster>();
  readonly #sessions = new Map<string, LiveSession>();
  readonly #sessionOfCluster = new Map<string, LiveSession>();
  #version = 0;

  constructor(deps: AgentSessionsDeps) {
    this.#deps = deps;
    this.#bindings = new AgentBindings(deps.store, deps.logger);
    this.admission = new SnapshotAdmission(deps.admission ?? ADMISSION_LIMITS, deps.clock);
  }

  /** Raised at each change of any view. */
  get version(): number {
    return this.#version;
  }

  /**
   * Opens a session for the cluster that the caller's key speaks for. INVALID_ARGUMENT names a bad field;
   * PERMISSION_DENIED when the key is of another cluster; ALREADY_EXISTS when it was enrolled for
   * another identity, or another process runs on a copy of the same state; CONFLICT when a newer
   * incarnation is live. A lower incarnation of a silent agent is taken: its state was restored.
   */
  async register(principal: Principal, request: AgentRegisterRequest): Promise<Registration> {
    const identity = checkRegister(request);
    const { clusterId } = request;
    const { orgId } = principal;
    this.#checkCredential(principal, clusterId, identity);
    const key = clusterKey(orgId, clusterId);
    this.#refuseSecond(orgId, this.#sessionOfCluster.get(key), request);
    const { isRestored } = await this.#bindings.bind(orgId, request, identity);
    const known = { storeId: request.knownStoreId, controllerTerm: request.knownControllerTerm };
    const verdict = await this.#deps.stores.judge(identity, clusterId, known);
    // Another registration may have come through while this one waited for the store.
    this.#refuseSecond(orgId, this.#sessionOfCluster.get(key), request);
    const cluster = this.#clusterOf(key, orgId, clusterId);
    if (isRestored) cluster.forget();
    const session = new LiveSession({
      id: randomUUID(),
      cluster,
      request,
      known,
      verdict,
      isRestored,
      snapshotWanted: cluster.stateDigest !== request.stateDigest,
      nowMs: this.#deps.clock.nowMs(),
    });
    this.#end(this.#sessionOfCluster.get(key), "a newer session of the cluster began");
    this.#sessions.set(session.id, session);
    this.#sessionOfCluster.set(key, session);
    if (!session.snapshotWanted) this.#setLive(session);
    this.#tellRegistered(session);
    const { reportIntervalMs, ttlMs } = this.#deps;
    return { session, reportIntervalMs, ttlMs, snapshotWanted: session.snapshotWanted };
  }

  /** The newest session of that id; CONFLICT when it has ended, PERMISSION_DENIED for another's. */
  require(principal: Principal, sessionId: string): AgentSession {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) {
      throw new BerthError("CONFLICT", "session_id: this session has ended; register again");
    }
    const { cluster } = session;
    if (cluster.orgId !== principal.orgId || cluster.id !== principal.agent?.id) {
      throw new BerthError("PERMISSION_DENIED", "session_id: the session is of another agent");
    }
    return session;
  }

  /** Counts a stream of a session as open until the function is called. */
  opened(session: AgentSession): () => void {
    const live = this.#heard(session);
    live.streams += 1;
    return () => {
      live.streams -= 1;
    };
  }

  /** Queues a session whose snapshot is wanted; undefined when it may send changes right away. */
  admit(session: AgentSession): AdmissionTicket | undefined {
    const live = this.#heard(session);
    if (!live.snapshotWanted) return undefined;
    return this.admission.enter(() => {
      this.#end(live, "the agent did not send its snapshot in its turn");
    });
  }

  /** Takes in one message of telemetry. */
  report(session: AgentSession, entries: readonly Entry[]): void {
    this.#heard(session);
    session.cluster.apply(entries);
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

  /** Marks clusters whose agents have been silent for their TTL. Called by a timer. */
  expire(): void {
    const countsFromMs = this.admission.silenceCountsFromMs;
    if (countsFromMs === undefined) return;
    const now = this.#deps.clock.nowMs();
    for (const session of [...this.#sessions.values()]) {
      const silentMs = now - Math.max(session.heardAtMs, countsFromMs);
      if (silentMs > this.#deps.ttlMs) this.#end(session, "the agent has been silent");
    }
  }

  /** Views of the clusters of an org that an agent has described. */
  views(orgId: string): readonly ClusterView[] {
    const views: ClusterView[] = [];
    for (const cluster of this.#clusters.values()) {
      const { view } = cluster;
      if (cluster.orgId === orgId && view !== undefined) views.push(view);
    }
    return views;
  }

  /** Whether an agent has ever registered for a cluster. */
  async knows(orgId: string, clusterId: string): Promise<boolean> {
    if (this.#clusters.has(clusterKey(orgId, clusterId))) return true;
    return this.#bindings.has(orgId, clusterId);
  }

  /** Agents of an org that have a session, by cluster id. */
  status(orgId: string): readonly AgentStatus[] {
    const nowMs = this.#deps.clock.nowMs();
    return [...this.#sessions.values()]
      .filter((session) => session.cluster.orgId === orgId)
      .map((session) => session.status(nowMs))
      .sort((a, b) => (a.clusterId < b.clusterId ? -1 : 1));
  }

  /** Ends the sessions that a condition holds for; their agents register again. */
  endAll(orgId: string, reason: string, holds: (status: AgentStatus) => boolean): void {
    const nowMs = this.#deps.clock.nowMs();
    for (const session of [...this.#sessions.values()]) {
      if (session.cluster.orgId === orgId && holds(session.status(nowMs))) {
        this.#end(session, reason);
      }
    }
  }

  /** Forgets a cluster that has no session and frees its id; gives whether it was known. */
  async forget(orgId: string, clusterId: string): Promise<boolean> {
    const key = clusterKey(orgId, clusterId);
    if (this.#sessionOfCluster.has(key)) {
      const message = `cluster ${clusterId} has a connected agent; stop the agent first`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    const hadKey = await this.#deps.forgetKey(clusterId);
    const wasBound = await this.#bindings.forget(orgId, clusterId);
    const wasKnown = this.#clusters.delete(key);
    if (wasKnown) this.#version += 1;
    return wasKnown || wasBound || hadKey;
  }

  /** Ends every session, at shutdown. */
  close(): void {
    for (const session of [...this.#sessions.values()]) this.#end(session, "shutting down");
    this.admission.close();
  }

  #checkCredential(principal: Principal, clusterId: string, identity: string): void {
    const verdict = judgeCredential(principal, { clusterId, identity });
    if (verdict.kind === "holds") return;
    if (verdict.cause === "identity") {
      this.#refused(principal.orgId, clusterId, "a second cluster claims the id of the first");
    }
    throw verdict.error;
  }

  /** A live session is only replaced by the same process, or by a later start of it. */
  #refuseSecond(orgId: string, live: LiveSession | undefined, request: AgentRegisterRequest): void {
    if (live === undefined || live.instanceId === request.agentInstanceId) return;
    if (request.agentIncarnation > live.incarnation) return;
    const { clusterId, agentIncarnation } = request;
    if (agentIncarnation < live.incarnation) {
      const message = `agent_incarnation: ${agentIncarnation} is older than ${live.incarnation}, which is live`;
      throw new BerthError("CONFLICT", message);
    }
    this.#refused(orgId, clusterId, "two agents run on copies of one state");
    const message = `cluster_id: another agent of cluster ${clusterId} is running on a copy of this state; stop one of them`;
    throw new BerthError("ALREADY_EXISTS", message);
  }

  #clusterOf(key: string, orgId: string, clusterId: string): AgentCluster {
    const known = this.#clusters.get(key);
    if (known !== undefined) return known;
    const cluster = new AgentCluster(orgId, clusterId, () => {
      this.#version += 1;
    });
    this.#clusters.set(key, cluster);
    return cluster;
  }

  #heard(session: AgentSession): LiveSession {
    const live = this.#sessions.get(session.id);
    if (live === undefined) {
      throw new BerthError("CONFLICT", "session_id: this session has ended; register again");
    }
    live.heardAtMs = this.#deps.clock.nowMs();
    return live;
  }

  #setLive(session: AgentSession): void {
    if (session.cluster.setHealth("live")) {
      this.#deps.logger.info("cluster is live", { cluster_id: session.cluster.id });
    }
  }

  #end(session: LiveSession | undefined, reason: string): void {
    if (session === undefined) return;
    const { cluster } = session;
    const key = clusterKey(cluster.orgId, cluster.id);
    this.#sessions.delete(session.id);
    if (this.#sessionOfCluster.get(key) === session) {
      this.#sessionOfCluster.delete(key);
      if (reason.startsWith("the agent") && cluster.setHealth("unreachable")) {
        this.#deps.logger.warn("cluster is unreachable", { cluster_id: cluster.id, reason });
        this.#tell(session, "agent_lost", { reason });
      }
    }
    session.end(new BerthError("CONFLICT", `the session has ended: ${reason}`));
  }

  #tellRegistered(session: LiveSession): void {
    const { verdict, incarnation, isRestored, instanceId, version } = session;
    const facts = {
      agent_incarnation: Number(incarnation),
      agent_instance_id: instanceId,
      agent_version: version,
    };
    this.#deps.logger.info("agent registered", { cluster_id: session.cluster.id, ...facts });
    this.#tell(session, "agent_connected", facts);
    if (isRestored) this.#tell(session, "agent_restored", facts);
    if (verdict.kind === "obey") return;
    const { why } = verdict;
    this.#deps.logger.warn("an agent only observes", { cluster_id: session.cluster.id, why });
    this.#tell(session, "store_unknown_to_agent", { why, cause: verdict.cause });
  }

  #refused(orgId: string, clusterId: string, reason: string): void {
    this.#deps.logger.warn("an agent was refused", { cluster_id: clusterId, reason });
    this.#deps.onEvent({ orgId, clusterId, kind: "agent_refused", facts: { reason } });
  }

  #tell(session: LiveSession, kind: LinkEventKind, facts: LinkEvent["facts"]): void {
    const { orgId, id: clusterId } = session.cluster;
    this.#deps.onEvent({ orgId, clusterId, kind, facts });
  }
}

function clusterKey(orgId: string, clusterId: string): string {
  return JSON.stringify([orgId, clusterId]);
}
