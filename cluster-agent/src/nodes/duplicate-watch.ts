import type { Clock, Logger } from "@berth/service-kit";
import type { AgentInstance } from "./agent-sightings.ts";
import {
  agentAsks,
  type DuplicateRules,
  type DuplicateState,
  type DuplicateStep,
  type DuplicateVerdict,
  holderReports,
  openDuplicateState,
  operatorPicks,
} from "./duplicates.ts";
import type { NodeDocuments } from "./node-documents.ts";
import type { NodeNews } from "./node-events.ts";
import { inGroup, type NodeStanding, type PickRequest } from "./node-standing.ts";
import { Serial } from "./serial.ts";

/** What a {@link DuplicateWatch} needs. */
export interface DuplicateWatchOptions {
  readonly standings: NodeDocuments<NodeStanding>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly news: NodeNews;
  readonly rules: DuplicateRules;
}

/** A candidate as operators see it. */
export interface CandidateView extends AgentInstance {
  /** ISO 8601, for people. */
  readonly firstSeenAt: string;
  /** Time since it was last heard, in ms; absent when not lately, or not since our start. */
  readonly ageMs?: number;
  readonly verdict: "undecided" | "picked" | "refused";
}

/** The candidates of one node, and whether it is decided which one it is. */
export interface DuplicatesView {
  readonly state: NodeStanding["kind"];
  /** ISO 8601, for people; absent when the node never had duplicates. */
  readonly since?: string;
  readonly candidates: readonly CandidateView[];
}

const CLEAR: NodeStanding = { kind: "clear" };

/** Watches for two agents of one node; {@link DuplicateState} with a store and a voice. */
export class DuplicateWatch {
  readonly #options: DuplicateWatchOptions;
  readonly #states = new Map<string, DuplicateState>();
  readonly #writes = new Serial();

  constructor(options: DuplicateWatchOptions) {
    this.#options = options;
  }

  /** Takes up what the store knows. `holders`: the process that held each node last. */
  async load(holders: ReadonlyMap<string, AgentInstance>): Promise<void> {
    const { standings, clock } = this.#options;
    const kept = await standings.load();
    for (const id of new Set([...kept.keys(), ...holders.keys()])) {
      const standing = kept.get(id) ?? CLEAR;
      this.#states.set(id, openDuplicateState(standing, holders.get(id), clock.nowMs()));
    }
  }

  /** Whether more than one agent speaks for the node, and nobody has told which one it is. */
  isDuplicate(node: string): boolean {
    return this.#states.get(node)?.standing.kind === "duplicate";
  }

  /** Whether one of the node's duplicates runs in this boot: it is no news then. */
  isCandidateBoot(node: string, bootId: string): boolean {
    const standing = this.#states.get(node)?.standing ?? CLEAR;
    return standing.kind !== "clear" && standing.candidates.some((one) => one.bootId === bootId);
  }

  /** Whether the agent that holds the node was heard so lately that it may still be there. */
  isHeld(node: string): boolean {
    const { clock, rules } = this.#options;
    const state = this.#states.get(node);
    const holder = state?.sightings.find((one) => one.agent.instanceId === state.holderId);
    return holder !== undefined && clock.nowMs() - holder.lastAtMs <= rules.liveMs;
  }

  /** A process asks to register. A change of the node's standing is durable when it resolves. */
  asks(node: string, agent: AgentInstance): Promise<DuplicateVerdict> {
    const state = this.#states.get(node) ?? { standing: CLEAR, sightings: [] };
    const asked = { agent, moment: this.#moment() };
    return this.#take(node, state, agentAsks(state, asked, this.#options.rules));
  }

  /** The process that holds the node has reported. */
  async reports(node: string): Promise<DuplicateVerdict> {
    const state = this.#states.get(node);
    if (state === undefined) return "taken";
    return this.#take(node, state, holderReports(state, this.#moment(), this.#options.rules));
  }

  /** An operator's pick, durable when it resolves; throws as {@link operatorPicks} does. */
  pick(node: string, request: PickRequest): Promise<void> {
    return this.#writes.run(async () => {
      const { logger, standings } = this.#options;
      const state = this.#states.get(node) ?? { standing: CLEAR, sightings: [] };
      const next = operatorPicks(state, request, this.#moment().at);
      await standings.save(node, next.standing);
      this.#states.set(node, next);
      logger.warn("an operator picked the agent of a node", { node, ...request });
    });
  }

  /** The candidates of a node as they are now. */
  view(node: string): DuplicatesView {
    const { standing, sightings } = this.#states.get(node) ?? { standing: CLEAR, sightings: [] };
    if (standing.kind === "clear") return { state: "clear", candidates: [] };
    const { nowMs } = this.#moment();
    const candidates = standing.candidates.map((candidate): CandidateView => {
      const seen = sightings.find((one) => one.agent.instanceId === candidate.instanceId);
      const age = seen === undefined ? {} : { ageMs: Math.round(nowMs - seen.lastAtMs) };
      return { ...candidate, ...age, verdict: verdictOn(standing, candidate) };
    });
    return { state: standing.kind, since: standing.since, candidates };
  }

  async #take(
    node: string,
    before: DuplicateState,
    { state, verdict }: DuplicateStep,
  ): Promise<DuplicateVerdict> {
    // First of all both are refused; that it is not on disk yet must not let one of them in.
    this.#states.set(node, state);
    if (state.standing === before.standing) return verdict;
    if (state.standing.kind === "duplicate" && before.standing.kind !== "duplicate") {
      const { candidates } = state.standing;
      const message = "two agents run as one node: both are refused until an operator picks one";
      this.#options.news.tell(node, "node_duplicate", { message, facts: { candidates } });
    }
    await this.#writes.run(() => this.#options.standings.save(node, state.standing));
    return verdict;
  }

  #moment() {
    const { clock } = this.#options;
    return { nowMs: clock.nowMs(), at: clock.timestamp() };
  }
}

function verdictOn(standing: NodeStanding, agent: AgentInstance): CandidateView["verdict"] {
  if (standing.kind !== "picked") return "undecided";
  return inGroup(standing.refused, agent) ? "refused" : "picked";
}
