import { BerthError } from "../errors.ts";
import type { AgentInstance } from "./sightings.ts";

/** An agent process between which an operator picks. */
export interface Candidate extends AgentInstance {
  /** ISO 8601, for people. */
  readonly firstSeenAt: string;
  /** Those of its former starts that were heard after it: it runs on a copy of their state, and is no restart. */
  readonly copyOf?: readonly string[];
}

/** Agent processes by their own id or by the boot that they run in. */
export interface AgentGroup {
  readonly instanceIds: readonly string[];
  readonly bootIds: readonly string[];
}

/**
 * Whether one agent speaks for a subject (a node, a cluster); kept in the store. `duplicate`: more than
 * one does, all are refused. `picked`: an operator has told which one it is; the others stay refused.
 */
export type Standing =
  | { readonly kind: "clear" }
  | {
      readonly kind: "duplicate";
      /** ISO 8601, for people. */
      readonly since: string;
      readonly candidates: readonly Candidate[];
    }
  | {
      readonly kind: "picked";
      /** ISO 8601, for people. */
      readonly since: string;
      readonly candidates: readonly Candidate[];
      readonly favoured: AgentGroup;
      readonly refused: AgentGroup;
    };

/** What an operator names the right agent by: one of the two. */
export interface PickRequest {
  readonly bootId?: string | undefined;
  readonly instanceId?: string | undefined;
}

/** Most candidates that are kept of a subject, and most processes that are kept of each side of a pick: the newest. */
export const STANDING_LIMITS = { candidates: 8, side: 64 } as const;

/** Whether a process belongs to a group. */
export function inGroup(group: AgentGroup, agent: AgentInstance): boolean {
  return group.instanceIds.includes(agent.instanceId) || group.bootIds.includes(agent.bootId);
}

/** Whether an operator's pick refuses a process. */
export function isRefused(standing: Standing, agent: AgentInstance): boolean {
  return standing.kind === "picked" && inGroup(standing.refused, agent);
}

/** Candidates with these added. When there are too many the oldest that is not added now goes. */
export function withCandidates(
  candidates: readonly Candidate[],
  agents: readonly AgentInstance[],
  at: string,
): readonly Candidate[] {
  const known = new Set(candidates.map((one) => one.instanceId));
  const added = agents.filter((agent) => !known.has(agent.instanceId));
  if (added.length === 0) return candidates;
  const all = [...candidates, ...added.map((agent) => ({ ...agent, firstSeenAt: at }))];
  return all.slice(-STANDING_LIMITS.candidates);
}

/**
 * The standing after an operator's pick, which may also change an earlier one. Throws INVALID_ARGUMENT
 * when the request does not tell the candidates apart, PRECONDITION_FAILED when there are none.
 */
export function pickCandidate(
  standing: Standing,
  request: PickRequest,
  at: string,
): Extract<Standing, { kind: "picked" }> {
  if (standing.kind === "clear") {
    throw new BerthError("PRECONDITION_FAILED", "there are no duplicates to pick from");
  }
  const { candidates } = standing;
  const picked = withLaterStarts(matching(candidates, request), candidates);
  const others = candidates.filter((one) => !picked.includes(one));
  const favoured = groupOf(picked, others);
  return { kind: "picked", since: at, candidates, favoured, refused: groupOf(others, picked) };
}

/** The candidates when a process was heard: those that say they came after it run beside it, on copies of its state. */
export function heardAgain(
  candidates: readonly Candidate[],
  { instanceId }: AgentInstance,
): readonly Candidate[] {
  const isNews = ({ formerIds = [], copyOf = [] }: Candidate) =>
    formerIds.includes(instanceId) && !copyOf.includes(instanceId);
  if (!candidates.some(isNews)) return candidates;
  return candidates.map((one) =>
    isNews(one) ? { ...one, copyOf: [...(one.copyOf ?? []), instanceId] } : one,
  );
}

/**
 * The picked candidates, and those that are their later starts: the newest of the former starts that is a candidate
 * tells whose a process is, and none of those that it runs beside is its own past.
 */
function withLaterStarts(
  picked: readonly Candidate[],
  candidates: readonly Candidate[],
): readonly Candidate[] {
  const known = new Set(candidates.map((one) => one.instanceId));
  const ids = new Set(picked.map((one) => one.instanceId));
  const isLaterStart = ({ formerIds = [], copyOf = [] }: Candidate): boolean => {
    const parent = formerIds.findLast((id) => known.has(id));
    return parent !== undefined && ids.has(parent) && !copyOf.some((id) => ids.has(id));
  };
  for (let before = -1; before !== ids.size; ) {
    before = ids.size;
    for (const one of candidates) if (isLaterStart(one)) ids.add(one.instanceId);
  }
  return candidates.filter((one) => ids.has(one.instanceId));
}

/** The standing after a pick when one more process has turned out to be a copy: it stays refused. */
export function withRefused(
  standing: Extract<Standing, { kind: "picked" }>,
  intruder: AgentInstance,
  holder: AgentInstance,
  at: string,
): Standing {
  const { instanceIds, bootIds } = groupOf([intruder], [holder]);
  const refused = {
    instanceIds: newest([...standing.refused.instanceIds, ...instanceIds]),
    bootIds: newest([...standing.refused.bootIds, ...bootIds]),
  };
  const candidates = withCandidates(standing.candidates, [intruder], at);
  return { ...standing, candidates: heardAgain(candidates, holder), refused };
}

/** The standing when a later start of a refused process has asked: it is known by its own id from now on. */
export function withRefusedStart(standing: Standing, { instanceId }: AgentInstance): Standing {
  if (standing.kind !== "picked") return standing;
  const { refused } = standing;
  if (refused.instanceIds.includes(instanceId)) return standing;
  const instanceIds = newest([...refused.instanceIds, instanceId]);
  return { ...standing, refused: { ...refused, instanceIds } };
}

/** The standing when a process was let in: after a pick its later starts are known by it. */
export function withLetIn(standing: Standing, { instanceId }: AgentInstance): Standing {
  if (standing.kind !== "picked") return standing;
  const { favoured } = standing;
  if (favoured.instanceIds.includes(instanceId)) return standing;
  const instanceIds = newest([...favoured.instanceIds, instanceId]);
  return { ...standing, favoured: { ...favoured, instanceIds } };
}

function matching(candidates: readonly Candidate[], request: PickRequest): readonly Candidate[] {
  const { bootId, instanceId } = request;
  if ((bootId === undefined) === (instanceId === undefined)) {
    throw invalid("boot_id, agent_instance_id: expected exactly one of them");
  }
  if (instanceId !== undefined) {
    const found = candidates.filter((one) => one.instanceId === instanceId);
    if (found.length > 0) return found;
    throw invalid(`agent_instance_id: expected one of ${listed(candidates, "instanceId")}`);
  }
  const found = candidates.filter((one) => one.bootId === bootId);
  if (found.length === 0) {
    throw invalid(`boot_id: expected one of ${listed(candidates, "bootId")}`);
  }
  if (found.length < candidates.length) return found;
  throw invalid("boot_id: every candidate runs in this boot; name one by agent_instance_id");
}

function listed(candidates: readonly Candidate[], key: "bootId" | "instanceId"): string {
  return [...new Set(candidates.map((one) => JSON.stringify(one[key])))].join(", ");
}

/** Names the members so that none of the others is named too. An unknown boot names nobody. */
function groupOf(members: readonly AgentInstance[], others: readonly AgentInstance[]): AgentGroup {
  const foreign = new Set(["", ...others.map((one) => one.bootId)]);
  const boots = members.map((one) => one.bootId).filter((bootId) => !foreign.has(bootId));
  return { instanceIds: members.map((one) => one.instanceId), bootIds: [...new Set(boots)] };
}

function newest(ids: readonly string[]): readonly string[] {
  return [...new Set(ids)].slice(-STANDING_LIMITS.side);
}

function invalid(message: string): BerthError {
  return new BerthError("INVALID_ARGUMENT", message);
}
