import type { AgentRegisterRequest } from "@berth/proto";
import {
  BerthError,
  type Clock,
  type DocumentStore,
  type DuplicatesView,
  DuplicateWatch,
  duplicateRules,
  KeyedDocuments,
  type Logger,
  type ReplaceKey,
  type Standing,
} from "@berth/service-kit";
import { AgentBindings } from "./agent-bindings.ts";
import type { AgentSession, LiveSession } from "./agent-session.ts";
import { AgentSessions } from "./agent-sessions.ts";
import { checkRegister, isClusterId } from "./check-register.ts";
import { ClusterTurns } from "./cluster-turns.ts";
import type { FleetStores } from "./fleet-stores.ts";
import type { LinkEvent } from "./link-event.ts";
import { LinkNews } from "./link-news.ts";
import {
  type RegisteringAgent,
  RegistrationJudge,
  type WithdrawOrders,
} from "./registration-judge.ts";
import { ADMISSION_LIMITS, type AdmissionLimits } from "./snapshot-admission.ts";
import { UnknownAgents } from "./unknown-agents.ts";

/** Without a time, so that it is one event however often somebody asks. */
const KEY_KEPT =
  "somebody asked for a key in place of the agent's, which may still be there, or is one of two; a token that was made for the cluster takes its place at once";

/** What Register answers. */
export interface Registration {
  /** `session.told` is the fence that the agent is to be told. */
  readonly session: AgentSession;
  /** Time between two telemetry reports, ms. */
  readonly reportIntervalMs: number;
  /** Silence after which the cluster counts as unreachable, ms. */
  readonly ttlMs: number;
  readonly snapshotWanted: boolean;
  /** Why the agent shall only observe, for people; empty when it may obey. */
  readonly observeReason: string;
}

/** What {@link openClusterAgents} needs. */
export interface ClusterAgentsDeps {
  readonly store: DocumentStore;
  /** Org of all agents. */
  readonly orgId: string;
  readonly stores: FleetStores;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Time between two telemetry reports that agents are told, ms. */
  readonly reportIntervalMs: number;
  /** Silence after which a cluster counts as unreachable, ms. */
  readonly ttlMs: number;
  /** Frees the id of a cluster at the enrolment; gives whether it was bound. */
  readonly forgetKey: (clusterId: string) => Promise<boolean>;
  readonly withdrawOrders: WithdrawOrders;
  /** Called right behind the writing of who a cluster's agent is, which both are durable before it is let in. Must not reject. */
  readonly advance: () => Promise<void>;
  /** Hears what happens on the links; must not throw. */
  readonly onEvent: (event: LinkEvent) => void;
  /** 32 snapshots at once by default. */
  readonly admission?: AdmissionLimits;
}

/** Opens the agents of a fleet with what the store knows of each cluster's last one. */
export async function openClusterAgents(deps: ClusterAgentsDeps): Promise<ClusterAgents> {
  const { store, orgId, clock, logger, admission = ADMISSION_LIMITS } = deps;
  const { reportIntervalMs, ttlMs } = deps;
  const news = new LinkNews(deps);
  const bindings = new AgentBindings(store, orgId);
  const watch = new DuplicateWatch({
    ...{ subject: "cluster", clock, logger },
    standings: new KeyedDocuments<Standing>({ store, orgId, collection: "cluster_standings" }),
    rules: duplicateRules({ hostMs: reportIntervalMs, ttlMs }),
    onDuplicate: (clusterId, candidates) => {
      news.duplicate(clusterId, candidates);
      sessions.lose(clusterId, "two agents run as this cluster");
    },
  });
  const sessions = new AgentSessions({ orgId, clock, logger, news, watch, ttlMs, admission });
  await watch.load(await bindings.holders());
  return new ClusterAgents(deps, { bindings, watch, news, sessions });
}

/**
 * Which agent speaks for which cluster: lets agents in, refuses those that may not, and carries out what an
 * operator decides about them.
 */
export class ClusterAgents {
  /** What those that were let in report. */
  readonly sessions: AgentSessions;
  /** Those that go on asking with keys that are not known. */
  readonly unknown: UnknownAgents;
  readonly #deps: ClusterAgentsDeps;
  readonly #bindings: AgentBindings;
  readonly #watch: DuplicateWatch;
  readonly #news: LinkNews;
  readonly #judge: RegistrationJudge;
  readonly #turns = new ClusterTurns();
  /** Newest sessions of clusters whose agents claimed what our store never gave, also when they have ended. */
  readonly #contradictions = new Map<string, LiveSession>();

  constructor(
    deps: ClusterAgentsDeps,
    opened: {
      readonly bindings: AgentBindings;
      readonly watch: DuplicateWatch;
      readonly news: LinkNews;
      readonly sessions: AgentSessions;
    },
  ) {
    const { bindings, watch, news, sessions } = opened;
    const { stores, withdrawOrders, advance } = deps;
    this.#deps = deps;
    this.#bindings = bindings;
    this.#watch = watch;
    this.#news = news;
    const onUnknown = (clusterId: string) => news.unknownKey(clusterId);
    this.unknown = new UnknownAgents({ clock: deps.clock, onUnknown });
    this.sessions = sessions;
    const onRefused = (clusterId: string, reason: string) => news.refused(clusterId, reason);
    const judged = { stores, bindings, watch, withdrawOrders, advance, onRefused };
    this.#judge = new RegistrationJudge(judged);
  }

  /**
   * Opens a session for the cluster that the caller's key speaks for. INVALID_ARGUMENT names a bad field;
   * PERMISSION_DENIED when the key is of another cluster; ALREADY_EXISTS when it was enrolled for
   * another identity, when two agents run on copies of one state, or when an operator has picked another;
   * UNAVAILABLE while another process may still be there. An agent that does not descend from the last
   * one is taken with its state restored: all of it is sent again.
   */
  async register(caller: RegisteringAgent, request: AgentRegisterRequest): Promise<Registration> {
    const { reportIntervalMs, ttlMs } = this.#deps;
    const identity = checkRegister(request);
    const { clusterId } = request;
    this.#judge.checkCredential(caller.principal(), clusterId, identity);
    return this.#turns.run(clusterId, async () => {
      const live = this.sessions.ofCluster(clusterId);
      const isAnother = live?.instanceId !== request.agentInstanceId;
      const admitted = await this.#judge.admit(request, {
        identity,
        address: caller.address,
        isHolderPresent: isAnother && live?.isPresent === true,
      });
      // The key may have ended while this one waited for the store.
      this.#judge.checkCredential(caller.principal(), clusterId, identity);
      const session = this.sessions.begin(request, admitted, this.#deps.stores.fence);
      this.#rememberContradiction(session);
      this.unknown.known(clusterId);
      const { snapshotWanted, verdict } = session;
      const observeReason = verdict.kind === "observe" ? verdict.why : "";
      return { session, reportIntervalMs, ttlMs, snapshotWanted, observeReason };
    });
  }

  /** Whether an agent has ever registered for a cluster. */
  async knows(orgId: string, clusterId: string): Promise<boolean> {
    if (this.sessions.knows(orgId, clusterId)) return true;
    return orgId === this.#deps.orgId && this.#bindings.has(clusterId);
  }

  /** Why no order is given to a cluster; undefined when orders are. */
  refusal(clusterId: string): string | undefined {
    const session = this.#contradictions.get(clusterId);
    // A store that got a new id meanwhile is not contradicted any more.
    if (session?.known.storeId !== this.#deps.stores.fence.storeId) return undefined;
    const { known } = session;
    return `the agent of cluster ${clusterId} claims a term ${known.controllerTerm} that this store never gave, so it gets no orders; look at \`berth fleet status\`, then \`berth fleet adopt\``;
  }

  /** A key that is not known was shown for a cluster, from an address; whoever did it needs no credential. */
  keyUnknown(clusterId: string, address: string | undefined): void {
    if (isClusterId(clusterId)) this.unknown.asked(clusterId, address);
  }

  /**
   * Why a token that was not made for the cluster gets no key in place of the cluster's, which is told as an event;
   * undefined when it gets one. The agent may be there, or come back by itself.
   */
  refuseReplacement(clusterId: string): BerthError | undefined {
    if (this.sessions.ofCluster(clusterId)?.isPresent === true) this.#watch.keyUsed(clusterId);
    const refusal = this.#watch.keyRefusal(clusterId);
    if (refusal !== undefined) this.#news.refused(clusterId, KEY_KEPT);
    return refusal;
  }

  /** The cluster's key is replaced by `replace`. */
  keyReplacing(clusterId: string, replace: ReplaceKey): Promise<void> {
    return this.#watch.keyReplaced(clusterId, replace);
  }

  /** Somebody has got the cluster's key, and is about to register. */
  keyGiven(clusterId: string): void {
    this.#watch.keyUsed(clusterId);
  }

  /** An enrolment under a cluster's id was refused as another one has it; told as an event, not too often. */
  enrolmentRefused(clusterId: string, reason: string): void {
    this.#news.refused(clusterId, reason);
  }

  /** A cluster's key has ended: its session ends at once. */
  keyEnded(clusterId: string): void {
    this.sessions.lose(clusterId, "the agent's key has ended");
  }

  /** The agents that claimed to be one cluster at the same time; NOT_FOUND for a cluster without an agent. */
  async duplicates(orgId: string, clusterId: string): Promise<DuplicatesView> {
    if (await this.knows(orgId, clusterId)) return this.#watch.view(clusterId);
    throw new BerthError("NOT_FOUND", `cluster ${clusterId} has no agent`);
  }

  /**
   * An operator tells which agent is the cluster's: it may register again, the others stay refused. Durable
   * when it resolves. NOT_FOUND, PRECONDITION_FAILED when there are no duplicates, INVALID_ARGUMENT when
   * it is none of the candidates.
   */
  pick(orgId: string, clusterId: string, instanceId: string): Promise<DuplicatesView> {
    return this.#turns.run(clusterId, async () => {
      const { candidates } = await this.duplicates(orgId, clusterId);
      if (candidates.some((candidate) => candidate.instanceId === instanceId)) {
        await this.#bindings.picked(clusterId, instanceId);
      }
      await this.#watch.pick(clusterId, { instanceId });
      this.#judge.forget(clusterId);
      // Whoever holds the cluster now may be the one that was not picked.
      this.sessions.lose(clusterId, "an operator has picked the agent");
      return this.#watch.view(clusterId);
    });
  }

  /**
   * Forgets a cluster, its agent's key included, and frees its id; gives whether it was known. An agent with a
   * session is cut off with `force`, otherwise PRECONDITION_FAILED.
   */
  async forget(orgId: string, clusterId: string, { force = false } = {}): Promise<boolean> {
    if (orgId !== this.#deps.orgId) return false;
    return this.#turns.run(clusterId, async () => {
      if (this.sessions.ofCluster(clusterId) !== undefined && !force) {
        const message = `cluster ${clusterId} has a connected agent; stop the agent first, or cut it off with ?force=true (\`berth delete cluster ${clusterId} --force\`)`;
        throw new BerthError("PRECONDITION_FAILED", message);
      }
      this.sessions.lose(clusterId, "the cluster was removed");
      const hadKey = await this.#deps.forgetKey(clusterId);
      // Whoever gets the id next must not be given the orders of this one.
      await this.#deps.withdrawOrders(clusterId);
      await this.#watch.forget(clusterId);
      const wasBound = await this.#bindings.forget(clusterId);
      this.#judge.forget(clusterId);
      this.#contradictions.delete(clusterId);
      const wasKnown = this.sessions.forget(clusterId);
      return wasKnown || wasBound || hadKey;
    });
  }

  #rememberContradiction(session: LiveSession): void {
    const { cluster, verdict } = session;
    const isOne = verdict.kind === "observe" && verdict.cause === "contradicts";
    if (isOne) this.#contradictions.set(cluster.id, session);
    else this.#contradictions.delete(cluster.id);
  }
}
