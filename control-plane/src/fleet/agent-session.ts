import type { AgentRegisterRequest } from "@berth/proto";
import type { BerthError } from "@berth/service-kit";
import type { AgentCluster } from "./agent-cluster.ts";
import type { KnownStore, StoreVerdict } from "./store-verdict.ts";

/** One registration of an agent. Ends when a newer one of the same cluster begins. */
export interface AgentSession {
  readonly id: string;
  readonly cluster: AgentCluster;
  readonly incarnation: bigint;
  /** The agent's state was found to be an older copy when it registered. */
  readonly isRestored: boolean;
  /** Aborted when the session ends. */
  readonly signal: AbortSignal;
}

/** An agent with a session, for people. */
export interface AgentStatus {
  readonly clusterId: string;
  /** Whether a stream of it is open now. */
  readonly connected: boolean;
  /** Whether it obeys this control-plane or only reports. */
  readonly mode: "obey" | "observe";
  /** Why it only reports. */
  readonly why: string | undefined;
  /** Store that it obeyed when it registered; empty when none. */
  readonly knownStoreId: string;
  readonly knownControllerTerm: bigint;
  readonly agentIncarnation: bigint;
  readonly agentInstanceId: string;
  readonly agentVersion: string;
  /** Time since its last message, ms. */
  readonly heardMsAgo: number;
}

/** What a {@link LiveSession} begins with. */
export interface SessionFacts {
  readonly id: string;
  readonly cluster: AgentCluster;
  readonly request: AgentRegisterRequest;
  readonly known: KnownStore;
  readonly verdict: StoreVerdict;
  readonly isRestored: boolean;
  readonly snapshotWanted: boolean;
  /** Monotonic, ms. */
  readonly nowMs: number;
}

/** A session as its keeper sees it. */
export class LiveSession implements AgentSession {
  readonly id: string;
  readonly cluster: AgentCluster;
  readonly incarnation: bigint;
  /** The agent's process. */
  readonly instanceId: string;
  readonly version: string;
  readonly known: KnownStore;
  readonly verdict: StoreVerdict;
  readonly isRestored: boolean;
  /** The agent's state is not held yet. */
  snapshotWanted: boolean;
  /** Open streams. */
  streams = 0;
  /** When the agent was last heard, monotonic, ms. */
  heardAtMs: number;
  readonly #ending = new AbortController();

  constructor(facts: SessionFacts) {
    this.id = facts.id;
    this.cluster = facts.cluster;
    this.incarnation = facts.request.agentIncarnation;
    this.instanceId = facts.request.agentInstanceId;
    this.version = facts.request.agentVersion;
    this.known = facts.known;
    this.verdict = facts.verdict;
    this.isRestored = facts.isRestored;
    this.snapshotWanted = facts.snapshotWanted;
    this.heardAtMs = facts.nowMs;
  }

  /** Aborted when the session ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Ends the session's streams with a reason. */
  end(reason: BerthError): void {
    this.#ending.abort(reason);
  }

  /** The session for people. */
  status(nowMs: number): AgentStatus {
    return {
      clusterId: this.cluster.id,
      connected: this.streams > 0,
      mode: this.verdict.kind,
      why: this.verdict.kind === "observe" ? this.verdict.why : undefined,
      knownStoreId: this.known.storeId,
      knownControllerTerm: this.known.controllerTerm,
      agentIncarnation: this.incarnation,
      agentInstanceId: this.instanceId,
      agentVersion: this.version,
      heardMsAgo: Math.round(nowMs - this.heardAtMs),
    };
  }
}
