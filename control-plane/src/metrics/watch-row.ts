import { type AgedRow, rowStem } from "./rows.ts";

/** A row as it is kept: its text without the age, and the version of the table in which it changed. */
export interface WatchedRow {
  /** "cluster", "cluster/node" or "cluster/node/gpu". */
  readonly id: string;
  readonly stem: string;
  /** Of a GPU. */
  readonly state: string | undefined;
  born: AgedRow<object>["born"];
  readonly changedAt: number;
  /** Version since which it has its state. */
  stateAt: number;
  /** The state before that and since when it had that one; a row that was gone meanwhile had none. */
  former: { readonly state: string | undefined; readonly at: number } | undefined;
}

/** A row that is made anew. */
export function freshRow(
  id: string,
  { body, born }: AgedRow<object>,
  { version, state }: { readonly version: number; readonly state?: string | undefined },
): WatchedRow {
  const stem = rowStem(body);
  return { id, stem, state, born, changedAt: version, stateAt: version, former: undefined };
}

/** Lets a changed row know in which state it was; `removedAt` of one that was gone: when it went. */
export function follow(
  row: WatchedRow,
  before: WatchedRow | undefined,
  removedAt: number | undefined,
): void {
  if (before === undefined) {
    if (removedAt !== undefined) row.former = { state: undefined, at: removedAt };
  } else if (before.state === row.state) {
    row.stateAt = before.stateAt;
    row.former = before.former;
  } else {
    row.former = { state: before.state, at: before.stateAt };
  }
}

/**
 * Whether a row that is not in a state now may have been in it at a version: true also where it has had several
 * others since, of which only the newest two are known.
 */
export function mayHaveBeen(
  { stateAt, former }: WatchedRow,
  state: string,
  version: number,
): boolean {
  if (stateAt <= version || former === undefined) return false;
  return former.at > version || former.state === state;
}
