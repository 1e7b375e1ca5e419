import { randomUUID } from "node:crypto";
import { type AgentRegisterRequest, ClusterIdentityKind, type Entry } from "@berth/proto";
import {
  BerthError,
  type Clock,
  type DocumentStore,
  type Logger,
  type Principal,
} from "@berth/service-kit";
import { AgentCluster } from "./agent-cluster.ts";
import type { ClusterView } from "./cluster-view.ts";

/** Time between two telemetry reports of an agent, in ms. */
const REPORT_INTERVAL_MS = 1_000;
/** Silence after which a cluster counts as unreachable, in ms. */
const TTL_MS = 10_000;
const CLUSTER_ID = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,252}$/;
const INSTANCE_ID = /^[0-9a-f-]{36}$/i;
const BINDINGS = "cluster_bindings";
const IDENTITY_KINDS = new Map<ClusterIdentityKind, string>([
  [ClusterIdentityKind.KUBERNETES, "kubernetes"],
  [ClusterIdentityKind.PROCESS, "process"],
]);

/** What a cluster id is bound to for good, and the newest incarnation that registered. */
interface Binding {
  readonly identity: string;
  readonly incarnation: string;
}

const MAX_INCARNATION = 1n << 23n;

/** One registration of an agent. Ends when a newer one of the same cluster begins. */
export interface AgentSession {
  readonly id: string;
  readonly cluster: AgentCluster;
  readonly incarnation: bigint;
  /** Aborted when the session ends. */
  readonly signal: AbortSignal;
}

/** What Register answers. */
export interface Registration {
  readonly session: AgentSession;
  readonly reportIntervalMs: number;
  readonly ttlMs: number;
  readonly snapshotWanted: boolean;
}

interface LiveSession extends AgentSession {
  /** The agent's process. */
  readonly instanceId: string;
  readonly ending: AbortController;
  heardAtMs: number;
}

/** What {@link AgentSessions} needs. */
export interface AgentSessionsDeps {
  readonly store: DocumentStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * The agents' side of the fleet: who registered, which session is the newest, what it has reported,
 * and when it was last heard. Clusters stay known after their agent has gone, as unreachable.
 */
export class AgentSessions {
  readonly #deps: AgentSessionsDeps;
  readonly #clusters = new Map<string, AgentCluster>();
  readonly #sessions = new Map<string, LiveSession>();
  readonly #sessionOfCluster = new Map<string, LiveSession>();

  constructor(deps: AgentSessionsDeps) {
    this.#deps = deps;
  }

  /**
   * Opens a session. INVALID_ARGUMENT names a bad field; ALREADY_EXISTS when the cluster id is bound
   * to another identity, or another process runs under the same; CONFLICT when a newer incarnation is
   * live. A lower incarnation of a silent agent is taken: its state was restored from an older copy.
   */
  async register(principal: Principal, request: AgentRegisterRequest): Promise<Registration> {
    const identity = checkRegister(request);
    const key = clusterKey(principal.orgId, request.clusterId);
    this.#refuseSecond(this.#sessionOfCluster.get(key), request);
    const { isRestored } = await this.#bind(principal.orgId, request, identity);
    const cluster = this.#clusters.get(key) ?? new AgentCluster(principal.orgId, request.clusterId);
    if (isRestored) cluster.forget();
    this.#clusters.set(key, cluster);
    const ending = new AbortController();
    const session: LiveSession = {
      id: randomUUID(),
      cluster,
      incarnation: request.agentIncarnation,
      instanceId: request.agentInstanceId,
      signal: ending.signal,
      ending,
      heardAtMs: this.#deps.clock.nowMs(),
    };
    this.#end(this.#sessionOfCluster.get(key), "a newer session of the cluster began");
    this.#sessions.set(session.id, session);
    this.#sessionOfCluster.set(key, session);
    const snapshotWanted = cluster.stateDigest !== request.stateDigest;
    if (!snapshotWanted) this.#setLive(session);
    this.#deps.logger.info("agent registered", {
      cluster_id: cluster.id,
      agent_incarnation: String(session.incarnation),
    });
    return { session, reportIntervalMs: REPORT_INTERVAL_MS, ttlMs: TTL_MS, snapshotWanted };
  }

  /** The newest session of that id; CONFLICT when it has ended, PERMISSION_DENIED for another org. */
  require(principal: Principal, sessionId: string): AgentSession {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) {
      throw new BerthError("CONFLICT", "session_id: this session has ended; register again");
    }
    if (session.cluster.orgId !== principal.orgId) {
      throw new BerthError("PERMISSION_DENIED", "session_id: the session is of another org");
    }
    return session;
  }

  /** Takes in one message of telemetry; `first` is the stream's first, which carries everything. */
  report(session: AgentSession, entries: readonly Entry[], first: boolean): void {
    this.#heard(session);
    session.cluster.apply(entries);
    if (first) session.cluster.keepOnly(entries);
  }

  /** Takes in changed state; `whole` replaces all state by a snapshot. */
  takeState(session: AgentSession, entries: readonly Entry[], whole: boolean): void {
    const live = this.#heard(session);
    if (whole) session.cluster.replaceState(entries);
    else session.cluster.apply(entries);
    this.#setLive(live);
  }

  /** Marks clusters whose agents have been silent for their TTL. Called by a timer. */
  expire(): void {
    const now = this.#deps.clock.nowMs();
    for (const session of [...this.#sessions.values()]) {
      if (now - session.heardAtMs > TTL_MS) this.#end(session, "the agent has been silent");
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

  /** Forgets a cluster that has no session and frees its id; gives whether it was known. */
  async forget(orgId: string, clusterId: string): Promise<boolean> {
    const key = clusterKey(orgId, clusterId);
    if (this.#sessionOfCluster.has(key)) {
      const message = `cluster ${clusterId} has a connected agent; stop the agent first`;
      throw new BerthError("PRECONDITION_FAILED", message);
    }
    const known = this.#clusters.delete(key);
    const binding = { orgId, collection: BINDINGS, id: clusterId };
    const outcome = await this.#deps.store.apply([{ kind: "delete", key: binding }]);
    return known || outcome.kind === "applied";
  }

  /** Ends every session, at shutdown. */
  close(): void {
    for (const session of [...this.#sessions.values()]) this.#end(session, "shutting down");
  }

  /** A live session is only replaced by the same process, or by a later start of it. */
  #refuseSecond(live: LiveSession | undefined, request: AgentRegisterRequest): void {
    if (live === undefined || live.instanceId === request.agentInstanceId) return;
    if (request.agentIncarnation > live.incarnation) return;
    const { clusterId, agentIncarnation } = request;
    if (agentIncarnation < live.incarnation) {
      const message = `agent_incarnation: ${agentIncarnation} is older than ${live.incarnation}, which is live`;
      throw new BerthError("CONFLICT", message);
    }
    this.#deps.logger.warn("two agents run on copies of one state", { cluster_id: clusterId });
    const message = `cluster_id: another agent of cluster ${clusterId} is running on a copy of this state; stop one of them`;
    throw new BerthError("ALREADY_EXISTS", message);
  }

  async #bind(
    orgId: string,
    request: AgentRegisterRequest,
    identity: string,
  ): Promise<{ readonly isRestored: boolean }> {
    const key = { orgId, collection: BINDINGS, id: request.clusterId };
    const bound = await this.#deps.store.get<Binding>(key);
    if (bound !== undefined && bound.body.identity !== identity) {
      this.#deps.logger.warn("a second cluster claims the id of the first", {
        cluster_id: request.clusterId,
      });
      const message = `cluster_id: ${request.clusterId} is bound to another cluster; choose another id, or delete the cluster here first`;
      throw new BerthError("ALREADY_EXISTS", message);
    }
    const newest = BigInt(bound?.body.incarnation ?? 0);
    const isRestored = request.agentIncarnation < newest;
    if (isRestored) {
      this.#deps.logger.warn("an agent came back with older state", {
        cluster_id: request.clusterId,
        agent_incarnation: String(request.agentIncarnation),
        newest_incarnation: String(newest),
      });
    }
    if (bound !== undefined && request.agentIncarnation === newest) return { isRestored };
    const body: Binding = { identity, incarnation: String(request.agentIncarnation) };
    const outcome = await this.#deps.store.apply([
      bound === undefined
        ? { kind: "insert", key, body }
        : { kind: "replace", key, body, ifRevision: bound.revision },
    ]);
    if (outcome.kind === "refused") {
      throw new BerthError("CONFLICT", `cluster_id: ${request.clusterId} registers twice at once`);
    }
    return { isRestored };
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
      }
    }
    session.ending.abort(new BerthError("CONFLICT", `the session has ended: ${reason}`));
  }
}

function checkRegister(request: AgentRegisterRequest): string {
  if (!CLUSTER_ID.test(request.clusterId)) {
    const message = "cluster_id: expected 1-253 characters of letters, digits, '.', '_' and '-'";
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  const { identity } = request;
  if (identity === undefined || identity.value === "" || identity.value.length > 512) {
    throw new BerthError("INVALID_ARGUMENT", "identity.value: expected 1-512 characters");
  }
  const kind = IDENTITY_KINDS.get(identity.kind);
  if (kind === undefined) {
    throw new BerthError("INVALID_ARGUMENT", "identity.kind: expected a known kind");
  }
  if (request.agentIncarnation < 1n || request.agentIncarnation > MAX_INCARNATION) {
    const message = `agent_incarnation: expected 1 to ${MAX_INCARNATION}`;
    throw new BerthError("INVALID_ARGUMENT", message);
  }
  if (!INSTANCE_ID.test(request.agentInstanceId)) {
    throw new BerthError("INVALID_ARGUMENT", "agent_instance_id: expected a UUID");
  }
  return `${kind}:${identity.value}`;
}

function clusterKey(orgId: string, clusterId: string): string {
  return JSON.stringify([orgId, clusterId]);
}
