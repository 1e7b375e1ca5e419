/** Most ids that are named. */
const MAX_NAMED = 3;
/** Letters that may be wrong, missing or too many. */
const MAX_EDITS = 2;
/** Most ids that are compared, so that the time stays below some ms. */
const MAX_COMPARED = 500;

/**
 * Ids that differ from a wanted one by at most two letters, the nearest first, three at most. Of many ids those with
 * the same beginning are looked at first, and 500 at most.
 */
export function nearIds(wanted: string, ids: readonly string[]): readonly string[] {
  const candidates = ids.filter((id) => Math.abs(id.length - wanted.length) <= MAX_EDITS);
  const sameStart = Map.groupBy(candidates, (id) => id[0] === wanted[0]);
  const compared = [...(sameStart.get(true) ?? []), ...(sameStart.get(false) ?? [])];
  return compared
    .slice(0, MAX_COMPARED)
    .map((id) => ({ id, edits: editsBetween(wanted, id) }))
    .filter(({ edits }) => edits <= MAX_EDITS)
    .sort((a, b) => a.edits - b.edits)
    .slice(0, MAX_NAMED)
    .map(({ id }) => id);
}

/** Levenshtein's distance. */
function editsBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let at = 1; at <= one.length; at += 1) {
    const next = [at];
    for (let column = 1; column <= other.length; column += 1) {
      const replaced = one[at - 1] === other[column - 1] ? 0 : 1;
      next.push(
        Math.min(
          (row[column] ?? 0) + 1,
          (next[column - 1] ?? 0) + 1,
          (row[column - 1] ?? 0) + replaced,
        ),
      );
    }
    row = next;
  }
  return row[other.length] ?? 0;
}
