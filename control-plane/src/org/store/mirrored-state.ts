import { createHash, randomUUID } from "node:crypto";
import { isJsonObject, type MirrorEntry, newestOf, type Write } from "@berth/service-kit";

/** A document of the store. */
export interface StoredState {
  readonly collection: string;
  readonly id: string;
  readonly body: unknown;
}

/** A collection of which only some documents are mirrored, those of a group under one key: they come and go often. */
export interface GroupedCollection {
  readonly collection: string;
  /** The group of a document, and whether it is mirrored now. */
  readonly groupOf: (body: unknown) => { readonly group: string; readonly isKept: boolean };
}

/** Collections whose documents are mirrored one by one. */
const COLLECTIONS: readonly string[] = [
  ...["quotas", "subjects", "charges", "scaled_quotas"],
  ...["workflows", "autoscale_settings", "guard_histories"],
];
/** What a lease charges is known from its cluster, and gone in minutes. */
const LEASE = "lease/";
const MAX_KEY_PART = 400;

/** Says where the mirror is, and whose it is. */
export const STATE_KEY = "state";

/** How far a state has come. JSON as stored and mirrored. */
export interface StateMark {
  /** Raised with each transaction. */
  readonly seq: number;
  /** Of the store that it began with: another one has nothing to do with it. */
  readonly lineage: string;
  /**
   * What it has come from, the newest first: begun anew where a store went on that could not see its mirror, which may have been ahead of it.
   */
  readonly parents?: readonly Pick<StateMark, "seq" | "lineage">[];
}

const MAX_PARENTS = 100;

/** The next mark of a store; of a new lineage when its mirror could not be seen. */
export function nextMark(before: StateMark | undefined, isFork: boolean): StateMark {
  if (before === undefined) return { seq: 1, lineage: randomUUID() };
  const { seq, lineage, parents = [] } = before;
  if (!isFork) return { ...before, seq: seq + 1 };
  const all = [{ seq, lineage }, ...parents].slice(0, MAX_PARENTS);
  return { seq: seq + 1, lineage: randomUUID(), parents: all };
}

/** Whether a state has all that another one has: it is that one, or has come from it. */
export function includes({ seq, lineage, parents = [] }: StateMark, other: StateMark): boolean {
  return [{ seq, lineage }, ...parents].some(
    (one) => one.lineage === other.lineage && other.seq <= one.seq,
  );
}

/** Reads the mark of a mirror; undefined when it is none. */
export function readMark(body: unknown): StateMark | undefined {
  if (!isJsonObject(body)) return undefined;
  const { seq, lineage, parents } = body;
  if (typeof lineage !== "string" || typeof seq !== "number") return undefined;
  const known = Array.isArray(parents) ? parents.flatMap((one) => readMark(one) ?? []) : [];
  return { seq, lineage, ...(known.length === 0 ? {} : { parents: known }) };
}

/** Whether documents of a collection are mirrored, one by one or by groups. */
export function isMirrored(
  collection: string,
  id: string,
  grouped: readonly GroupedCollection[],
): boolean {
  if (collection === "charges" && id.startsWith(LEASE)) return false;
  return COLLECTIONS.includes(collection) || grouped.some((one) => one.collection === collection);
}

/** Collections that are read when all is mirrored anew. */
export function mirroredCollections(grouped: readonly GroupedCollection[]): readonly string[] {
  return [...COLLECTIONS, ...grouped.map(({ collection }) => collection)];
}

/** The mirror's key of a document, or of a group; ids that are too long for one stand as their digest. */
export function mirrorKey(collection: string, id: string): string {
  const encoded = encodeURIComponent(id.toWellFormed());
  const isFit = encoded !== "" && encoded.length <= MAX_KEY_PART;
  const part = isFit ? encoded : `%%${createHash("sha256").update(id).digest("hex")}`;
  return `${collection}/${part}`;
}

/** The documents of an entry; empty of one that was removed, or that is none. */
export function documentsOf({ key, body }: MirrorEntry): readonly StoredState[] {
  const collection = key.slice(0, key.indexOf("/"));
  const told = Array.isArray(body) ? body : [body];
  return told.flatMap((one: unknown) =>
    isJsonObject(one) && typeof one.id === "string" && isJsonObject(one.body)
      ? [{ collection, id: one.id, body: one.body }]
      : [],
  );
}

/** What a store and its mirror come to at a start, and what the mirror has of that. */
export interface Comparing {
  readonly compared: Comparison;
  readonly entries: readonly MirrorEntry[];
}

/** What a store and its mirror come to at a start. */
export type Comparison =
  /** The store counts. */
  | { readonly kind: "store" }
  /** Both have gone ways of their own: the store counts, and the mirror is written anew, above `seq`. */
  | { readonly kind: "stranger"; readonly lineage: string; readonly seq: number }
  /** The mirror is newer, or the store is empty: entries above `above` are to be taken. */
  | { readonly kind: "mirror"; readonly mark: StateMark; readonly above: number };

/**
 * Compares the mark of a store, if it has one, with the copies that its mirror has, the shared one first. Copies of different histories are
 * never mixed: what is newer than the store counts, then what it knows, and of equals the copy of this machine. Pure.
 */
export function comparing(
  mark: StateMark | undefined,
  isEmpty: boolean,
  copies: readonly (readonly MirrorEntry[])[],
): Comparing {
  const all = statesOf(copies).map((entries): Comparing => {
    return { compared: comparison(mark, isEmpty, entries), entries };
  });
  const best = (["mirror", "store", "stranger"] as const)
    .map((kind) => all.findLast(({ compared }) => compared.kind === kind))
    .find((one) => one !== undefined);
  return best ?? { compared: { kind: "store" }, entries: [] };
}

/** The states that copies have: those of which one includes the other are one, with the newest entry of each key. */
function statesOf(
  copies: readonly (readonly MirrorEntry[])[],
): readonly (readonly MirrorEntry[])[] {
  const states: (readonly MirrorEntry[])[] = [];
  for (const copy of copies.filter(({ length }) => length > 0)) {
    const mark = markOf(copy);
    const place = states.findIndex((one) => {
      const other = markOf(one);
      const isKnown = mark !== undefined && other !== undefined;
      return isKnown && (includes(mark, other) || includes(other, mark));
    });
    if (place < 0) states.push(copy);
    else states[place] = newestOf([...(states[place] ?? []), ...copy]);
  }
  return states;
}

/** How far a copy has come: its entries may be ahead of what it says of itself. */
function markOf(entries: readonly MirrorEntry[]): StateMark | undefined {
  const read = readMark(entries.find(({ key }) => key === STATE_KEY)?.body);
  return read && { ...read, seq: newestSeq(entries) };
}

function newestSeq(entries: readonly MirrorEntry[]): number {
  return entries.reduce((most, { revision }) => Math.max(most, revision), 0);
}

function comparison(
  mark: StateMark | undefined,
  isEmpty: boolean,
  entries: readonly MirrorEntry[],
): Comparison {
  const seq = newestSeq(entries);
  const state = markOf(entries);
  if (state !== undefined && mark === undefined && isEmpty) {
    return { kind: "mirror", mark: state, above: 0 };
  }
  if (state === undefined || mark === undefined) {
    return { kind: "stranger", lineage: state?.lineage ?? "unknown", seq };
  }
  if (includes(mark, state)) return { kind: "store" };
  if (includes(state, mark)) return { kind: "mirror", mark: state, above: mark.seq };
  return { kind: "stranger", lineage: state.lineage, seq };
}

/** The writes by which a store comes to what the entries say. `stored` is what it has, by the mirror's keys. Pure. */
export function takingWrites(
  entries: readonly MirrorEntry[],
  stored: ReadonlyMap<string, readonly StoredState[]>,
  orgId: string,
): readonly Write[] {
  return entries
    .filter(({ key }) => key !== STATE_KEY)
    .flatMap((entry) => {
      const before = stored.get(entry.key) ?? [];
      const after = documentsOf(entry);
      const has = (all: readonly StoredState[], id: string) => all.some((one) => one.id === id);
      const gone = before.filter(({ id }) => !has(after, id));
      return [
        ...gone.map(({ collection, id }): Write => {
          return { kind: "delete", key: { orgId, collection, id } };
        }),
        ...after.map(({ collection, id, body }): Write => {
          const kind = has(before, id) ? "replace" : "insert";
          return { kind, key: { orgId, collection, id }, body };
        }),
      ];
    });
}
