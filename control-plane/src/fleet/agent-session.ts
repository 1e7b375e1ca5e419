import type { AgentRegisterRequest } from "@berth/proto";
import { BerthError } from "@berth/service-kit";
import type { AgentCluster } from "./agent-cluster.ts";
import type { AdmissionTicket } from "./snapshot-admission.ts";
import type { KnownStore, StoreFence, StoreVerdict } from "./store-verdict.ts";

/** The streams that an agent opens, at most one of each per session. */
export type StreamKind = "report" | "state" | "commands";

/** One registration of an agent. Ends when a newer one of the same cluster begins. */
export interface AgentSession {
  readonly id: string;
  readonly cluster: AgentCluster;
  readonly incarnation: bigint;
  /** The agent's state was found to be an older copy when it registered. */
  readonly isRestored: boolean;
  /** What the agent was told of our store when it registered. */
  readonly told: StoreFence;
  /** Aborted when the session ends. */
  readonly signal: AbortSignal;
}

/** An agent with a session, for people. */
export interface AgentStatus {
  readonly clusterId: string;
  /** Whether a stream of it is open now. */
  readonly connected: boolean;
  /** Whether it obeys this control-plane or only reports. */
  readonly mode: StoreVerdict["kind"];
  /** What makes it only report. */
  readonly cause: Extract<StoreVerdict, { readonly kind: "observe" }>["cause"] | undefined;
  /** Why it only reports, for people. */
  readonly why: string | undefined;
  /** Store that it obeyed when it registered; empty when none. */
  readonly knownStoreId: string;
  readonly knownControllerTerm: bigint;
  readonly agentIncarnation: bigint;
  readonly agentInstanceId: string;
  readonly agentVersion: string;
  /** Time since the last message on a stream of it, ms; registering again does not count. */
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
  readonly told: StoreFence;
  /** When a stream of the agent was last heard; of its first session: when that began. Monotonic, ms. */
  readonly heardAtMs: number;
  /** Silence before this does not count, as the session before was excused then. Monotonic, ms. */
  readonly excusedUntilMs: number;
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
  readonly told: StoreFence;
  /** The agent's state is not held yet. */
  snapshotWanted: boolean;
  /** When a stream of the agent was last heard, monotonic, ms. */
  heardAtMs: number;
  readonly #ending = new AbortController();
  readonly #streams = new Set<StreamKind>();
  readonly #excusedUntilMs: number;
  #ticket: AdmissionTicket | undefined;
  #judgedAtMs = Number.NEGATIVE_INFINITY;

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
    this.told = facts.told;
    this.heardAtMs = facts.heardAtMs;
    this.#excusedUntilMs = facts.excusedUntilMs;
  }

  /**
   * Until when the agent's silence does not count, monotonic, ms: now while it has a place in the queue for
   * snapshots, as it waits to be let send or sends one long message; the end of that afterwards.
   */
  excusedUntilMs(nowMs: number): number {
    if (this.#ticket === undefined) return this.#excusedUntilMs;
    return this.#ticket.leftAtMs ?? nowMs;
  }

  /** Aborted when the session ends. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Whether a stream of the agent is open: it answers pings. */
  get isPresent(): boolean {
    return this.#streams.size > 0;
  }

  /** Counts a stream as open until the function is called; CONFLICT when one of its kind is open. */
  openStream(kind: StreamKind): () => void {
    if (this.#streams.has(kind)) {
      const message = `session_id: this session has an open ${kind} stream; close it before the next one`;
      throw new BerthError("CONFLICT", message);
    }
    this.#streams.add(kind);
    let isOpen = true;
    return () => {
      if (isOpen) this.#streams.delete(kind);
      isOpen = false;
    };
  }

  /** Takes the session's one place in the queue for snapshots; a former one is given back before. */
  takeTicket(enter: () => AdmissionTicket): AdmissionTicket {
    this.#ticket?.leave();
    this.#ticket = enter();
    return this.#ticket;
  }

  /** Whether it is time to judge again whether the agent is the only one; `everyMs` apart at least. */
  isJudgementDue(nowMs: number, everyMs: number): boolean {
    if (nowMs - this.#judgedAtMs < everyMs) return false;
    this.#judgedAtMs = nowMs;
    return true;
  }

  /** Ends the session's streams with a reason, and gives its place in the queue back. */
  end(reason: BerthError): void {
    this.#ticket?.leave();
    this.#ending.abort(reason);
  }

  /** The session for people. */
  status(nowMs: number): AgentStatus {
    const { verdict } = this;
    const { cause, why } = verdict.kind === "observe" ? verdict : {};
    return {
      clusterId: this.cluster.id,
      connected: this.isPresent,
      mode: verdict.kind,
      cause,
      why,
      knownStoreId: this.known.storeId,
      knownControllerTerm: this.known.controllerTerm,
      agentIncarnation: this.incarnation,
      agentInstanceId: this.instanceId,
      agentVersion: this.version,
      heardMsAgo: Math.round(nowMs - this.heardAtMs),
    };
  }
}
