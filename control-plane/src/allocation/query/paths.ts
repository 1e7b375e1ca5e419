import { isJsonObject } from "@berth/service-kit";
import { type QuerySteps, TOO_LONG } from "./query-steps.ts";

/** Values of a path. Pauses now and then, so that others can have their turn. */
export type Walk = Generator<void, readonly unknown[] | typeof TOO_LONG>;

/** Values that are looked at with the path from one of its keys on. */
interface Places {
  readonly values: readonly unknown[];
  readonly key: number;
  /** Only objects are looked at: items of an array do not stand for the arrays among them. */
  readonly isObjectsOnly: boolean;
  next: number;
}

/**
 * Values of a dotted path in a document, as MongoDB finds them: arrays on the way are descended, and an
 * array at the end gives itself and its elements. Empty when the path leads nowhere. An index and the items of an
 * array can lead to the same place: each is looked at once for each key of the path.
 */
export function* valuesAt(document: unknown, keys: readonly string[], steps: QuerySteps): Walk {
  const found: unknown[] = [];
  const seen = new Seen(keys);
  const waiting: Places[] = [placesOf([document], 0)];
  for (let places = waiting.at(-1); places !== undefined; places = waiting.at(-1)) {
    if (!steps.take(1)) return TOO_LONG;
    if (steps.isPauseDue()) yield;
    const value = nextOf(places, waiting);
    if (value === NONE || !seen.isFirst(value, places.key)) continue;
    const key = keys[places.key];
    if (key === undefined) {
      if (!steps.take(addFound(found, value))) return TOO_LONG;
    } else waiting.push(...below(value, key, places.key));
  }
  return found;
}

/** The scalars at a dotted path with every array on the way and at the end flattened, in their order. */
export function* leavesAt(document: unknown, keys: readonly string[], steps: QuerySteps): Walk {
  const found: unknown[] = [];
  const waiting: Places[] = [placesOf([document], 0)];
  for (let places = waiting.at(-1); places !== undefined; places = waiting.at(-1)) {
    if (!steps.take(1)) return TOO_LONG;
    if (steps.isPauseDue()) yield;
    const value = nextOf(places, waiting);
    if (value === NONE) continue;
    const key = keys[places.key];
    if (Array.isArray(value)) waiting.push(placesOf(value, places.key));
    else if (key === undefined) found.push(value);
    else if (isJsonObject(value) && Object.hasOwn(value, key)) {
      waiting.push(placesOf([value[key]], places.key + 1));
    }
  }
  return found;
}

const NONE = Symbol("no value");

/** The next value to look at. Places that have been looked at are left for good. */
function nextOf(places: Places, waiting: Places[]): unknown {
  if (places.next === places.values.length) {
    waiting.pop();
    return NONE;
  }
  const value = places.values[places.next++];
  if (value === undefined || (places.isObjectsOnly && !isJsonObject(value))) return NONE;
  return value;
}

/** What has been looked at already; without an index in a path there is one way to each place. */
class Seen {
  readonly #byKey: readonly Set<unknown>[];

  constructor(keys: readonly string[]) {
    this.#byKey = keys.some(isIndex) ? [...keys, ""].map(() => new Set()) : [];
  }

  /** Whether this is the first look at a value with the path from one of its keys on. */
  isFirst(value: unknown, key: number): boolean {
    const seen = this.#byKey[key];
    if (seen === undefined || typeof value !== "object" || value === null) return true;
    if (seen.has(value)) return false;
    seen.add(value);
    return true;
  }
}

/** Adds a value that a path ended at; gives the steps that it took. */
function addFound(found: unknown[], value: unknown): number {
  found.push(value);
  if (!Array.isArray(value)) return 0;
  for (const item of value) found.push(item);
  return value.length;
}

function below(value: unknown, key: string, at: number): readonly Places[] {
  if (Array.isArray(value)) {
    const items = placesOf(value, at, true);
    return isIndex(key) ? [items, placesOf([value[Number(key)]], at + 1)] : [items];
  }
  if (!isJsonObject(value) || !Object.hasOwn(value, key)) return [];
  return [placesOf([value[key]], at + 1)];
}

function placesOf(values: readonly unknown[], key: number, isObjectsOnly = false): Places {
  return { values, key, isObjectsOnly, next: 0 };
}

function isIndex(key: string): boolean {
  return /^\d+$/.test(key);
}
