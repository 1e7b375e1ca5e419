/** Whether a value passes. */
export type ValueTest = (value: unknown) => boolean;

/**
 * Whether one of the values at the end of a path passes; an array on the way stands for each of its items, or
 * one by its index. Both ways can lead to the same place: each is looked at once, so that the time is linear in
 * the document for each key of the path. An array at the end is one value.
 */
export function someAt(document: unknown, keys: readonly string[], test: ValueTest): boolean {
  const hasIndex = keys.some(isIndex);
  const seen = hasIndex ? keys.map(() => new Set<unknown>()) : [];
  return someBelow(document, { keys, seen, test, at: 0 });
}

/** All values at the end of a path, as {@link someAt} finds them. */
export function valuesAt(document: unknown, keys: readonly string[]): readonly unknown[] {
  const values: unknown[] = [];
  someAt(document, keys, (value) => {
    values.push(value);
    return false;
  });
  return values;
}

interface Walk {
  readonly keys: readonly string[];
  /** What has been looked at with the path from each key on; without an index there is one way to each place. */
  readonly seen: readonly Set<unknown>[];
  readonly test: ValueTest;
  /** The key that is next. */
  at: number;
}

/** Recurses once for each key and for each array in an array: documents are not nested deeply. */
function someBelow(value: unknown, walk: Walk): boolean {
  const { at } = walk;
  const key = walk.keys[at];
  if (key === undefined) return walk.test(value);
  if (typeof value !== "object" || value === null || wasSeen(value, walk)) return false;
  if (!Array.isArray(value)) return Object.hasOwn(value, key) && somePart(value, key, walk);
  for (const item of value) {
    if (someBelow(item, walk)) return true;
  }
  const isPlace = walk.seen.length > 0 && isIndex(key) && Number(key) < value.length;
  return isPlace && somePart(value, key, walk);
}

function somePart(value: object, key: string, walk: Walk): boolean {
  walk.at += 1;
  const passes = someBelow((value as Record<string, unknown>)[key], walk);
  walk.at -= 1;
  return passes;
}

function wasSeen(value: object, { seen, at }: Walk): boolean {
  const here = seen[at];
  if (here === undefined) return false;
  if (here.has(value)) return true;
  here.add(value);
  return false;
}

function isIndex(key: string): boolean {
  return /^\d+$/.test(key);
}
