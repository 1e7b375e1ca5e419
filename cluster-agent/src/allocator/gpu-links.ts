/** Strength of the path between two GPUs of `nvidia-smi topo -m`: NVLink by its links, then by how far apart. */
const STRENGTHS: Readonly<Record<string, number>> = {
  PIX: 50,
  PXB: 40,
  PHB: 30,
  NODE: 20,
  SYS: 10,
};
const NVLINK_STRENGTH = 100;

/** Path of each GPU slot to each GPU slot: "NV18", "PIX", "SYS", … Empty where unknown. */
export type GpuLinks = readonly (readonly string[])[];

/** How strongly two slots are linked; 0 where that is not known. */
export function linkStrength(links: GpuLinks, one: number, other: number): number {
  const path = links[one]?.[other] ?? "";
  const [, count] = /^NV(\d{1,3})$/.exec(path) ?? [];
  return count === undefined ? (STRENGTHS[path] ?? 0) : NVLINK_STRENGTH + Number(count);
}

/** Slots of a node, and how strongly they are linked with each other. */
export interface LinkedSlots {
  readonly slots: readonly number[];
  /** Sum over all pairs. */
  readonly strength: number;
}

/** What is picked from. */
interface Choice {
  /** Rising. */
  readonly slots: readonly number[];
  readonly count: number;
  readonly links: GpuLinks;
}

/** Sets that are compared at most; all of 5 out of 16 are. */
const MAX_SETS = 5_000;

/**
 * Picks slots that are linked best, of equals the lowest ones. Where there are more sets than can be compared, one is
 * grown from each slot by whatever is linked best with it. Undefined when there are too few slots.
 */
export function bestLinked(
  slots: readonly number[],
  count: number,
  links: GpuLinks,
): LinkedSlots | undefined {
  if (slots.length < count) return undefined;
  if (links.length === 0) return { slots: slots.slice(0, count), strength: 0 };
  const choice: Choice = { slots, count, links };
  const sets =
    combinations(slots.length, count) <= MAX_SETS
      ? allSets(choice)
      : slots.map((first) => grown(first, choice));
  return strongest(sets);
}

function strongest(sets: Iterable<LinkedSlots>): LinkedSlots | undefined {
  let best: LinkedSlots | undefined;
  for (const set of sets) if (best === undefined || set.strength > best.strength) best = set;
  return best;
}

/** How many sets of `count` there are; more than that many make no difference. */
function combinations(of: number, count: number): number {
  let sets = 1;
  for (let picked = 0; picked < count && sets <= MAX_SETS; picked += 1) {
    sets = (sets * (of - picked)) / (picked + 1);
  }
  return sets;
}

function* allSets(
  { slots, count, links }: Choice,
  picked: LinkedSlots = { slots: [], strength: 0 },
  from = 0,
): Generator<LinkedSlots> {
  const missing = count - picked.slots.length;
  if (missing === 0) yield picked;
  else {
    for (let at = from; at <= slots.length - missing; at += 1) {
      const slot = slots[at] ?? 0;
      const strength = picked.slots.reduce(
        (sum, other) => sum + linkStrength(links, other, slot),
        picked.strength,
      );
      const more = { slots: [...picked.slots, slot], strength };
      yield* allSets({ slots, count, links }, more, at + 1);
    }
  }
}

function grown(first: number, { slots, count, links }: Choice): LinkedSlots {
  const picked = [first];
  const others = slots.filter((slot) => slot !== first);
  const gains = new Map(others.map((slot) => [slot, linkStrength(links, first, slot)]));
  let strength = 0;
  while (picked.length < count) {
    const [next, gain] = [...gains].reduce((best, one) => (one[1] > best[1] ? one : best));
    strength += gain;
    picked.push(next);
    gains.delete(next);
    for (const [slot, before] of gains) gains.set(slot, before + linkStrength(links, next, slot));
  }
  return { slots: picked.sort((a, b) => a - b), strength };
}
