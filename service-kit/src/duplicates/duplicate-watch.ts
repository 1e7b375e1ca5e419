import type { Clock } from "../clock.ts";
import type { BerthError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { Serial } from "../serial.ts";
import type { Write } from "../store/document-store.ts";
import type { KeyedDocuments } from "../store/keyed-documents.ts";
import {
  type AskingAgent,
  agentAsks,
  type DuplicateRules,
  type DuplicateState,
  type DuplicateStep,
  type DuplicateVerdict,
  holderReports,
  KEY_HOLD_MS,
  openDuplicateState,
  operatorPicks,
} from "./judge-duplicates.ts";
import { type KeyHold, keyHoldRefusal } from "./key-hold.ts";
import type { AgentInstance } from "./sightings.ts";
import { type Candidate, inGroup, type PickRequest, type Standing } from "./standing.ts";

/** What a {@link DuplicateWatch} needs. */
export interface DuplicateWatchOptions {
  /** Noun of the subjects in the log: "cluster" or "node". */
  readonly subject: string;
  readonly standings: KeyedDocuments<Standing>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules: DuplicateRules;
  /** Hears once that two agents speak for one subject; must not throw. */
  readonly onDuplicate: (id: string, candidates: readonly Candidate[]) => void;
}

/** A candidate as operators see it. */
export interface CandidateView extends Omit<AgentInstance, "formerIds"> {
  /** ISO 8601, for people. */
  readonly firstSeenAt: string;
  /** Time since it was last heard, in ms; absent when not lately, or not since our start. */
  readonly ageMs?: number;
  readonly verdict: "undecided" | "picked" | "refused";
}

/** The candidates of one subject, and whether it is decided which one it is. */
export interface DuplicatesView {
  readonly state: Standing["kind"];
  /** ISO 8601, for people; absent when it never had duplicates. */
  readonly since?: string;
  readonly candidates: readonly CandidateView[];
}

const CLEAR: Standing = { kind: "clear" };

/** Watches for two agents of one subject; {@link DuplicateState} with a store and a voice. */
export class DuplicateWatch {
  readonly #options: DuplicateWatchOptions;
  readonly #states = new Map<string, DuplicateState>();
  readonly #writes = new Serial();
  /** When each subject's key was last used or given, since our start; monotonic, ms. */
  readonly #heardAtMs = new Map<string, number>();
  readonly #openedAtMs: number;

  constructor(options: DuplicateWatchOptions) {
    this.#options = options;
    this.#openedAtMs = options.clock.nowMs();
  }

  /** Takes up what the store knows. `holders`: the process that held each subject last. */
  async load(holders: ReadonlyMap<string, AgentInstance>): Promise<void> {
    const { standings, clock } = this.#options;
    const kept = await standings.load();
    for (const id of new Set([...kept.keys(), ...holders.keys()])) {
      const standing = kept.get(id) ?? CLEAR;
      this.#states.set(id, openDuplicateState(standing, holders.get(id), clock.nowMs()));
    }
  }

  /** Whether more than one agent speaks for it, and nobody has told which one it is. */
  isDuplicate(id: string): boolean {
    return this.#states.get(id)?.standing.kind === "duplicate";
  }

  /** Whether one of the duplicates runs in this boot: it is no news then. */
  isCandidateBoot(id: string, bootId: string): boolean {
    const standing = this.#states.get(id)?.standing ?? CLEAR;
    return standing.kind !== "clear" && standing.candidates.some((one) => one.bootId === bootId);
  }

  /** Whether the agent that holds it was heard so lately that it may still be there. */
  isHeld(id: string): boolean {
    const { clock, rules } = this.#options;
    const state = this.#states.get(id);
    const holder = state?.sightings.find((one) => one.agent.instanceId === state.holderId);
    return holder !== undefined && clock.nowMs() - holder.lastAtMs <= rules.liveMs;
  }

  /** The key of a subject was given to somebody, or is in use: it is held anew. */
  keyUsed(id: string): void {
    this.#heardAtMs.set(id, this.#options.clock.nowMs());
  }

  /**
   * Whether a token that was not made for a subject may replace its key. One that was not heard since our start
   * counts as heard at our start: its agent may be on its way back.
   */
  keyHold(id: string): KeyHold {
    const { clock, rules } = this.#options;
    if ((this.#states.get(id)?.standing ?? CLEAR).kind !== "clear") return { kind: "contested" };
    const silentMs = clock.nowMs() - (this.#heardAtMs.get(id) ?? this.#openedAtMs);
    const forMs = (rules.keyHoldMs ?? KEY_HOLD_MS) - silentMs;
    return forMs > 0 ? { kind: "held", forMs } : { kind: "free" };
  }

  /** {@link keyHold} as what is told to whoever asks for a key in place of the subject's; undefined when free. */
  keyRefusal(id: string): BerthError | undefined {
    const { clock, subject } = this.#options;
    return keyHoldRefusal(this.keyHold(id), { subject, id, now: clock.timestamp() });
  }

  /** A process asks to register. A change of the standing is durable when it resolves. */
  asks(id: string, asking: AskingAgent): Promise<DuplicateVerdict> {
    this.keyUsed(id);
    const state = this.#states.get(id) ?? { standing: CLEAR, sightings: [] };
    const asked = { ...asking, moment: this.#moment() };
    return this.#take(id, state, agentAsks(state, asked, this.#options.rules));
  }

  /** The process that holds it has reported. */
  async reports(id: string): Promise<DuplicateVerdict> {
    const state = this.#states.get(id);
    if (state === undefined) return "taken";
    this.keyUsed(id);
    return this.#take(id, state, holderReports(state, this.#moment(), this.#options.rules));
  }

  /** An operator's pick, durable when it resolves; throws as {@link operatorPicks} does. */
  pick(id: string, request: PickRequest): Promise<void> {
    return this.#writes.run(async () => {
      const { logger, standings, subject } = this.#options;
      const state = this.#states.get(id) ?? { standing: CLEAR, sightings: [] };
      const next = operatorPicks(state, request, this.#moment().at);
      await standings.save(id, next.standing);
      this.#states.set(id, next);
      logger.warn(`an operator picked the agent of a ${subject}`, { [subject]: id, ...request });
    });
  }

  /**
   * The key of a subject is replaced by `replace`, which makes these writes with its own: none of the processes that had
   * it can ask any more, so there is nobody left to choose from or to wait for. When it rejects all stays as it was.
   */
  keyReplaced(id: string, replace: (writes: readonly Write[]) => Promise<void>): Promise<void> {
    return this.#writes.run(async () => {
      const { logger, standings, subject } = this.#options;
      await standings.removeWith(id, replace);
      const { kind } = this.#states.get(id)?.standing ?? CLEAR;
      this.#states.delete(id);
      if (kind === "clear") return;
      const message = `the key of a ${subject} was replaced: who had it is no candidate any more`;
      logger.warn(message, { [subject]: id, formerly: kind });
    });
  }

  /** Forgets a subject that was removed, durably. */
  forget(id: string): Promise<void> {
    return this.#writes.run(async () => {
      await this.#options.standings.remove(id);
      this.#states.delete(id);
      this.#heardAtMs.delete(id);
    });
  }

  /** The candidates of one subject as they are now. */
  view(id: string): DuplicatesView {
    const { standing, sightings } = this.#states.get(id) ?? { standing: CLEAR, sightings: [] };
    if (standing.kind === "clear") return { state: "clear", candidates: [] };
    const { nowMs } = this.#moment();
    const candidates = standing.candidates.map(({ formerIds: _, copyOf: __, ...candidate }) => {
      const seen = sightings.find((one) => one.agent.instanceId === candidate.instanceId);
      const age = seen === undefined ? {} : { ageMs: Math.round(nowMs - seen.lastAtMs) };
      return { ...candidate, ...age, verdict: verdictOn(standing, candidate) } as const;
    });
    return { state: standing.kind, since: standing.since, candidates };
  }

  async #take(
    id: string,
    before: DuplicateState,
    { state, verdict }: DuplicateStep,
  ): Promise<DuplicateVerdict> {
    // First of all both are refused; that it is not on disk yet must not let one of them in.
    this.#states.set(id, state);
    if (state.standing === before.standing) return verdict;
    if (state.standing.kind === "duplicate" && before.standing.kind !== "duplicate") {
      const { candidates } = state.standing;
      this.#options.onDuplicate(id, candidates);
    }
    await this.#writes.run(async () => {
      // Forgotten meanwhile: the store must not remember what nobody knows any more.
      if (this.#states.has(id)) await this.#options.standings.save(id, state.standing);
    });
    return verdict;
  }

  #moment() {
    const { clock } = this.#options;
    return { nowMs: clock.nowMs(), at: clock.timestamp() };
  }
}

function verdictOn(standing: Standing, agent: AgentInstance): CandidateView["verdict"] {
  if (standing.kind !== "picked") return "undecided";
  return inGroup(standing.refused, agent) ? "refused" : "picked";
}
