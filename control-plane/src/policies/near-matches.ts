/** Matches that one message names. */
const MAX_MATCHES = 5;
/** Nobody mistypes so long a text; comparing it would take long. No policy has one. */
const MAX_ASKED_CHARACTERS = 512;
/** Typing errors that are always looked past, in texts that are not very short. */
const FEW_EDITS = 2;
/** Most edits that two versions of one name are told apart by. */
const MOST_EDITS = 10;
const FAR = Number.POSITIVE_INFINITY;

interface Match {
  readonly uri: string;
  /** Of the name or of the whole URI, whichever are fewer. */
  readonly edits: number;
  readonly ofUri: number;
}

/**
 * The policies that somebody may have meant who asked for an unknown URI: those whose name, or whose whole URI,
 * differs in a few letters, at most five, the closest first. Names may differ in 2 letters or a third of them
 * (10 at most), whole URIs in 2, and neither in more than half of the name. Capital letters are as good as small
 * ones.
 */
export function nearMatches(asked: string, known: readonly string[]): readonly string[] {
  if (asked.length > MAX_ASKED_CHARACTERS) return [];
  const meant = asked.toLowerCase();
  const name = nameOf(meant);
  const allowed = allowedIn(name);
  const few = Math.min(FEW_EDITS, allowed);
  const ofNames = new Map<string, number>();
  const best: Match[] = [];
  for (const uri of known) {
    const worst = best[MAX_MATCHES - 1]?.edits ?? allowed;
    const lower = uri.toLowerCase();
    const knownName = nameOf(lower);
    const ofName =
      ofNames.get(knownName) ?? editDistance(name, knownName, Math.min(allowed, worst));
    ofNames.set(knownName, ofName);
    const ofUri = editDistance(meant, lower, ofName === FAR ? Math.min(few, worst) : MOST_EDITS);
    const edits = Math.min(ofName, ofUri);
    if (edits === FAR) continue;
    best.push({ uri, edits, ofUri: Math.min(ofUri, MOST_EDITS + 1) });
    best.sort((one, other) => one.edits - other.edits || one.ofUri - other.ofUri);
    best.splice(MAX_MATCHES);
  }
  return best.map(({ uri }) => uri);
}

/**
 * Letters to insert, delete, replace, or swap with their neighbour until one text is the other (optimal
 * string alignment: no place is edited twice); infinity when that takes more than `limit`.
 */
export function editDistance(from: string, to: string, limit: number): number {
  if (Math.abs(from.length - to.length) > limit) return FAR;
  // Cells that are further than `limit` from the diagonal cost more: they keep what they are filled with.
  const tooMany = limit + 1;
  let beforeLast = new Uint16Array(to.length + 1).fill(tooMany);
  let last = Uint16Array.from(beforeLast, (_, column) => Math.min(column, tooMany));
  let current = new Uint16Array(to.length + 1);
  let leastBefore = 0;
  for (let row = 1; row <= from.length; row += 1) {
    current.fill(tooMany);
    current[0] = Math.min(row, tooMany);
    let least = Math.min(row, tooMany);
    const end = Math.min(to.length, row + limit);
    for (let column = Math.max(1, row - limit); column <= end; column += 1) {
      const isSame = from[row - 1] === to[column - 1];
      const replaced = at(last, column - 1) + (isSame ? 0 : 1);
      const moved = Math.min(at(last, column), at(current, column - 1)) + 1;
      const isSwap = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      const swapped = isSwap ? at(beforeLast, column - 2) + 1 : tooMany;
      const edits = Math.min(replaced, moved, swapped, tooMany);
      current[column] = edits;
      least = Math.min(least, edits);
    }
    // A cell follows from the two rows before it.
    if (Math.min(least, leastBefore) > limit) return FAR;
    leastBefore = least;
    [beforeLast, last, current] = [last, current, beforeLast];
  }
  const distance = at(last, to.length);
  return distance > limit ? FAR : distance;
}

function allowedIn({ length }: string): number {
  const third = Math.min(Math.floor(length / 3), MOST_EDITS);
  return Math.min(Math.max(FEW_EDITS, third), Math.floor(length / 2));
}

function nameOf(uri: string): string {
  const end = uri.indexOf(":");
  return end === -1 ? uri : uri.slice(0, end);
}

/** What stands outside of the table is never the least. */
function at(row: Uint16Array, column: number): number {
  return row[column] ?? FAR;
}
