/** One process of an agent, as it introduces itself when it registers. */
export interface AgentInstance {
  /** UUID that the process minted at its start. */
  readonly instanceId: string;
  /** Boot of the machine that it runs in; empty where unknown. */
  readonly bootId: string;
  /** Counts the starts of the state directory that it runs on. */
  readonly incarnation: number;
  /** Address that it dialled from; absent where unknown. */
  readonly address?: string;
  /** Newest instance ids of the starts of its state directory before it, oldest first; absent where unknown. */
  readonly formerIds?: readonly string[];
}

/** Most former starts that are remembered of one process: the newest ones. */
export const MAX_FORMER_IDS = 32;

/** When one agent process was heard, in ms of one monotonic clock. */
export interface Sighting {
  readonly agent: AgentInstance;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
}

/** Most processes that are remembered of one subject: the newest ones. */
export const MAX_SIGHTINGS = 8;

const MEMORY_MS = 600_000;

/** The sightings with this one added: a process asked or reported at `nowMs`. */
export function sighted(
  sightings: readonly Sighting[],
  agent: AgentInstance,
  nowMs: number,
): readonly Sighting[] {
  const before = sightings.find((one) => one.agent.instanceId === agent.instanceId);
  const others = sightings.filter((one) => one !== before && nowMs - one.lastAtMs <= MEMORY_MS);
  const now = { agent, firstAtMs: before?.firstAtMs ?? nowMs, lastAtMs: nowMs };
  return [now, ...others].slice(0, MAX_SIGHTINGS);
}

/**
 * The process whose life overlaps the given one's by more than `overlapMs`, undefined when there is none.
 * A restart never overlaps: the old process is silent before the new one speaks, but for what was
 * still on its way.
 */
export function overlapping(
  sightings: readonly Sighting[],
  instanceId: string,
  overlapMs: number,
): Sighting | undefined {
  const own = sightings.find((one) => one.agent.instanceId === instanceId);
  if (own === undefined) return undefined;
  return sightings.find((other) => other !== own && overlapOf(own, other) > overlapMs);
}

function overlapOf(a: Sighting, b: Sighting): number {
  return Math.min(a.lastAtMs, b.lastAtMs) - Math.max(a.firstAtMs, b.firstAtMs);
}
