import { descentOf, type Lineage } from "./descent.ts";
import {
  type AgentInstance,
  MAX_FORMER_IDS,
  overlapping,
  type Sighting,
  sighted,
} from "./sightings.ts";
import {
  type Candidate,
  heardAgain,
  inGroup,
  type PickRequest,
  pickCandidate,
  type Standing,
  withCandidates,
  withLetIn,
  withRefused,
  withRefusedStart,
} from "./standing.ts";

/**
 * Finds two agents that run as one subject (a node, a cluster): with the same key, identity and id, on
 * copies of one state directory (a cloned machine). A restart or a reboot is not one: its processes do not overlap
 * in time. Failure model §2: duplicates are both refused until an operator picks.
 */
export interface DuplicateState {
  /** What the store keeps. */
  readonly standing: Standing;
  /** Who was heard since our own start. */
  readonly sightings: readonly Sighting[];
  /** Process whose registration counts; absent when none does. */
  readonly holderId?: string;
}

/** Times of the judgement, in ms. */
export interface DuplicateRules {
  /** A holder that was heard within this time may still be there. */
  readonly liveMs: number;
  /**
   * Two processes that were heard in turn over more than this run at the same time. It must be longer
   * than a broken connection can still deliver what a dead process has sent: 9 s with the pings of
   * `createHttp2Server`.
   */
  readonly overlapMs: number;
  /** How long a silent agent keeps its key, as it may come back by itself; 20 s when absent. */
  readonly keyHoldMs?: number;
}

/** Longest time that a broken connection delivers what a dead process has sent, and a little more, ms. */
const OVERLAP_MS = 10_000;

/** Longest delay between two attempts of an agent to connect, ms: the cap of both agents' back-off. */
const RECONNECT_CAP_MS = 10_000;

/** How long a silent agent keeps its key by default, ms; the margin is the time in which a broken link is found. */
export const KEY_HOLD_MS = RECONNECT_CAP_MS + OVERLAP_MS;

/**
 * Rules for agents that report at these intervals: two of them may fail to come. The key is held for the TTL, or
 * the agents' longest delay between two attempts, and the time in which a broken link is found.
 */
export function duplicateRules(intervals: {
  readonly hostMs: number;
  readonly ttlMs: number;
}): DuplicateRules {
  const liveMs = 2 * Math.min(intervals.hostMs, intervals.ttlMs / 3);
  const keyHoldMs = Math.max(intervals.ttlMs, RECONNECT_CAP_MS) + OVERLAP_MS;
  return { liveMs, overlapMs: OVERLAP_MS, keyHoldMs };
}

/** When something happened. */
export interface DuplicateMoment {
  /** Ms of one monotonic clock. */
  readonly nowMs: number;
  /** ISO 8601, for people. */
  readonly at: string;
}

/**
 * What to do with a process: `taken` = its registration counts from now on; `wait` = another one may still
 * be there, try again; `duplicate` = both are refused until an operator picks; `refused` = an operator
 * has picked another one.
 */
export type DuplicateVerdict = "taken" | "wait" | "duplicate" | "refused";

/** The next state and the verdict on who has spoken. */
export interface DuplicateStep {
  readonly state: DuplicateState;
  readonly verdict: DuplicateVerdict;
}

/**
 * State of a subject at our own start. The process that held it last may be there still, and gets the time to
 * be heard again.
 */
export function openDuplicateState(
  standing: Standing,
  holder: AgentInstance | undefined,
  nowMs: number,
): DuplicateState {
  if (holder === undefined || standing.kind === "duplicate") return { standing, sightings: [] };
  const sightings = sighted([], holder, nowMs);
  return { standing, sightings, holderId: holder.instanceId };
}

/** A process that asks to register. */
export interface AskingAgent extends Lineage {
  /** Whether a connection of the holder is open and answers pings: then no start of another one replaces it. */
  readonly isHolderPresent?: boolean;
}

/** A process asks to register. */
export function agentAsks(
  state: DuplicateState,
  asked: AskingAgent & { readonly moment: DuplicateMoment },
  rules: DuplicateRules,
): DuplicateStep {
  const { moment, isHolderPresent = false } = asked;
  const agent = withPast(asked);
  const descent = descentOf(state, asked);
  if (descent === "refused") {
    const standing = withRefusedStart(state.standing, agent);
    return { state: { ...state, standing }, verdict: "refused" };
  }
  const sightings = sighted(state.sightings, agent, moment.nowMs);
  const seen = { ...state, sightings };
  if (state.standing.kind === "duplicate") return stillDuplicate(seen, agent, moment);
  const other = overlapping(sightings, agent.instanceId, rules.overlapMs);
  if (other !== undefined) return conflict(seen, agent, { other: other.agent, moment });
  if (isHolderPresent && seen.holderId !== agent.instanceId)
    return { state: seen, verdict: "wait" };
  const step = succession(seen, agent, { nowMs: moment.nowMs, liveMs: rules.liveMs });
  if (step.verdict !== "taken") return step;
  // Whose it is nobody knows: it may be what the pick was made against.
  if (descent === "stranger") return declared(seen, [agent], moment);
  const standing = withLetIn(state.standing, agent);
  return { state: { ...step.state, standing }, verdict: "taken" };
}

/** The process that holds the registration has reported. */
export function holderReports(
  state: DuplicateState,
  moment: DuplicateMoment,
  rules: DuplicateRules,
): DuplicateStep {
  const holder = holderOf(state);
  if (holder === undefined) return { state, verdict: "taken" };
  const sightings = sighted(state.sightings, holder.agent, moment.nowMs);
  const seen = { ...state, sightings };
  // After a pick the holder is the one that was picked; who comes beside it is judged when it asks.
  if (state.standing.kind !== "clear") return { state: seen, verdict: "taken" };
  const other = overlapping(sightings, holder.agent.instanceId, rules.overlapMs);
  if (other === undefined) return { state: seen, verdict: "taken" };
  return declared(seen, [other.agent, holder.agent], moment);
}

/** An operator picks one candidate; throws as {@link pickCandidate} does. What was heard counts anew. */
export function operatorPicks(
  state: DuplicateState,
  request: PickRequest,
  at: string,
): DuplicateState {
  return { standing: pickCandidate(state.standing, request, at), sightings: [] };
}

/** The process with the newest of its former starts, so that a pick can tell whose later start it is. */
function withPast({ agent, formerIds }: Lineage): AgentInstance {
  return formerIds === undefined
    ? agent
    : { ...agent, formerIds: formerIds.slice(-MAX_FORMER_IDS) };
}

function succession(
  state: DuplicateState,
  agent: AgentInstance,
  { nowMs, liveMs }: { readonly nowMs: number; readonly liveMs: number },
): DuplicateStep {
  const holder = holderOf(state);
  const taken: DuplicateStep = {
    state: { ...state, holderId: agent.instanceId },
    verdict: "taken",
  };
  if (holder === undefined || holder.agent.instanceId === agent.instanceId) return taken;
  if (nowMs - holder.lastAtMs > liveMs) return taken;
  // Once a copy is known to exist, a later start alone does not prove whose it is.
  const laterStart = agent.incarnation > holder.agent.incarnation;
  return laterStart && state.standing.kind === "clear" ? taken : { state, verdict: "wait" };
}

/** Two processes run at the same time. After a pick the one beside the holder is the copy. */
function conflict(
  state: DuplicateState,
  agent: AgentInstance,
  { other, moment }: { readonly other: AgentInstance; readonly moment: DuplicateMoment },
): DuplicateStep {
  const { standing } = state;
  if (standing.kind !== "picked") return declared(state, [other, agent], moment);
  if (state.holderId === agent.instanceId) {
    const refused = withRefused(standing, other, agent, moment.at);
    return { state: without(other, { ...state, standing: refused }), verdict: "taken" };
  }
  const { favoured } = standing;
  const wasLetIn = favoured.instanceIds.includes(agent.instanceId);
  if (wasLetIn || (inGroup(favoured, agent) && !inGroup(favoured, other))) {
    return declared(state, [other, agent], moment);
  }
  const refused = withRefused(standing, agent, other, moment.at);
  return { state: without(agent, { ...state, standing: refused }), verdict: "refused" };
}

function declared(
  { standing, sightings }: DuplicateState,
  agents: readonly AgentInstance[],
  { at }: DuplicateMoment,
): DuplicateStep {
  const known = standing.kind === "picked" ? standing.candidates : [];
  const candidates = besideEachOther(withCandidates(known, agents, at), sightings);
  return {
    state: { standing: { kind: "duplicate", since: at, candidates }, sightings },
    verdict: "duplicate",
  };
}

/** Marks those that were there before the last sign of one that they say was before them. */
function besideEachOther(
  candidates: readonly Candidate[],
  sightings: readonly Sighting[],
): readonly Candidate[] {
  let marked = candidates;
  for (const { agent, lastAtMs } of sightings) {
    const later = new Set(
      sightings.filter((one) => one.firstAtMs < lastAtMs).map((one) => one.agent.instanceId),
    );
    const heard = heardAgain(marked, agent);
    marked = marked.map((one, index) => (later.has(one.instanceId) ? (heard[index] ?? one) : one));
  }
  return marked;
}

function stillDuplicate(
  state: DuplicateState,
  agent: AgentInstance,
  { at }: DuplicateMoment,
): DuplicateStep {
  const { standing } = state;
  if (standing.kind !== "duplicate") return { state, verdict: "wait" };
  const heard = heardAgain(standing.candidates, agent);
  const candidates = withCandidates(heard, [agent], at);
  if (candidates === standing.candidates) return { state, verdict: "duplicate" };
  return { state: { ...state, standing: { ...standing, candidates } }, verdict: "duplicate" };
}

function holderOf({ sightings, holderId }: DuplicateState): Sighting | undefined {
  return sightings.find((one) => one.agent.instanceId === holderId);
}

function without(agent: AgentInstance, state: DuplicateState): DuplicateState {
  const sightings = state.sightings.filter((one) => one.agent.instanceId !== agent.instanceId);
  return { ...state, sightings };
}
