import type { AgentInstance } from "./sightings.ts";
import { inGroup, isRefused, type Standing } from "./standing.ts";

/** A process, and the starts of its state directory before it. */
export interface Lineage {
  readonly agent: AgentInstance;
  /** Instance ids of those starts, oldest first; undefined when it is not judged by them. */
  readonly formerIds?: readonly string[] | undefined;
}

/**
 * Whose later start a process is, by an operator's pick: `favoured` = of the picked one; `refused` = of one
 * that was picked against; `stranger` = of neither; `open` = nobody has picked, or its past is not known.
 */
export type Descent = "favoured" | "refused" | "stranger" | "open";

/**
 * Judges a process by its past: of its starts that the pick knows the newest one counts, as copies share what
 * was before. `holderId`: the process that was let in last.
 */
export function descentOf(
  { standing, holderId }: { readonly standing: Standing; readonly holderId?: string },
  { agent, formerIds }: Lineage,
): Descent {
  if (standing.kind !== "picked") return "open";
  if (isRefused(standing, agent)) return "refused";
  if (formerIds === undefined) return "open";
  const { favoured, refused } = standing;
  for (const id of [...formerIds, agent.instanceId].toReversed()) {
    if (refused.instanceIds.includes(id)) return "refused";
    if (favoured.instanceIds.includes(id) || id === holderId) return "favoured";
  }
  return inGroup(favoured, agent) ? "favoured" : "stranger";
}
