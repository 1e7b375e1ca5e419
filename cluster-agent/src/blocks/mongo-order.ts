import { isJsonObject } from "@berth/service-kit";

/**
 * Compares two values as MongoDB sorts them: missing and null < numbers < text < objects < arrays < booleans. Text by
 * its characters' code points, objects field by field in their order, arrays item by item. Less than 0 when `one`
 * comes first. Source: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
 */
export function compareValues(one: unknown, other: unknown): number {
  const rank = rankOf(one);
  const difference = rank - rankOf(other);
  if (difference !== 0 || rank <= RANK.missing) return difference;
  if (rank === RANK.text) return compareTexts(one as string, other as string);
  if (rank === RANK.array) return compareArrays(one as unknown[], other as unknown[]);
  if (rank === RANK.object) return compareObjects(one as object, other as object);
  return Number(one) - Number(other);
}

/** What a document is sorted by at a path: of several values the least one, or the greatest when it is sorted down. */
export function sortValue(document: unknown, keys: readonly string[], direction: 1 | -1): unknown {
  const extreme = new Extreme(direction);
  visit(document, { keys, at: 0, extreme });
  return extreme.value;
}

const RANK = { empty: 0, missing: 1, number: 2, text: 3, object: 4, array: 5, boolean: 6 } as const;

/** Stands for an array without items: it comes before everything else. */
const EMPTY = Symbol("an empty array");

function rankOf(value: unknown): number {
  if (value === EMPTY) return RANK.empty;
  if (value === undefined || value === null) return RANK.missing;
  if (typeof value === "number") return RANK.number;
  if (typeof value === "string") return RANK.text;
  if (typeof value === "boolean") return RANK.boolean;
  return Array.isArray(value) ? RANK.array : RANK.object;
}

/** UTF-16 has the characters beyond U+FFFF before those from U+E000 on; their code points are the greater ones. */
function compareTexts(one: string, other: string): number {
  if (one === other) return 0;
  const length = Math.min(one.length, other.length);
  for (let at = 0; at < length; at += 1) {
    const unit = one.charCodeAt(at);
    const otherUnit = other.charCodeAt(at);
    if (unit !== otherUnit) return place(unit) - place(otherUnit);
  }
  return one.length - other.length;
}

function place(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}

function compareArrays(one: readonly unknown[], other: readonly unknown[]): number {
  for (const [index, item] of one.entries()) {
    if (index >= other.length) return 1;
    const difference = compareValues(item, other[index]);
    if (difference !== 0) return difference;
  }
  return one.length - other.length;
}

function compareObjects(one: object, other: object): number {
  const others = Object.entries(other);
  const fields = Object.entries(one);
  for (const [index, [key, value]] of fields.entries()) {
    const [otherKey, otherValue] = others[index] ?? [];
    if (otherKey === undefined) return 1;
    const difference =
      rankOf(value) - rankOf(otherValue) ||
      compareTexts(key, otherKey) ||
      compareValues(value, otherValue);
    if (difference !== 0) return difference;
  }
  return fields.length - others.length;
}

/** The first value of those that were seen, in one direction. */
class Extreme {
  readonly #direction: 1 | -1;
  #value: unknown;
  #hasSeen = false;

  constructor(direction: 1 | -1) {
    this.#direction = direction;
  }

  /** Undefined when nothing was seen: the field is missing. */
  get value(): unknown {
    return this.#value;
  }

  see(value: unknown): void {
    if (this.#hasSeen && compareValues(value, this.#value) * this.#direction >= 0) return;
    this.#value = value;
    this.#hasSeen = true;
  }
}

interface Visit {
  readonly keys: readonly string[];
  /** The key that is next. */
  readonly at: number;
  readonly extreme: Extreme;
}

/**
 * An array on the way stands for one of its items when the key is an index of it, else for each of them; one that is
 * no object lacks the field.
 */
function visit(value: unknown, { keys, at, extreme }: Visit): void {
  const key = keys[at];
  const next = { keys, at: at + 1, extreme };
  if (key === undefined) seeAll(value, extreme);
  else if (isJsonObject(value)) visit(member(value, key), next);
  else if (!Array.isArray(value) || value.length === 0) extreme.see(undefined);
  else if (/^\d+$/.test(key) && Number(key) < value.length) visit(value[Number(key)], next);
  else for (const item of value) visit(isJsonObject(item) ? member(item, key) : undefined, next);
}

/** Sees the items of an array, and any other value as such. */
function seeAll(value: unknown, extreme: Extreme): void {
  if (!Array.isArray(value)) extreme.see(value);
  else if (value.length === 0) extreme.see(EMPTY);
  else for (const item of value) extreme.see(item);
}

function member(object: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}
