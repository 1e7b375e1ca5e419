/** Compares two items: less than 0 when the first one comes first. */
export type Compare<T> = (one: T, other: T) => number;

/** Comparisons between two places to pause. */
const STRETCH = 32;

/**
 * Sorts a list for a `Pacer`: pauses every few comparisons, so that a long list, or one of long texts, stops nobody else.
 * Gives a new list in which equal items stand as they did.
 */
export function* sortPaced<T>(
  items: readonly T[],
  compare: Compare<T>,
): Generator<void, readonly T[]> {
  let list = items;
  for (let width = 1; width < items.length; width *= 2) {
    const merged: T[] = [];
    for (let start = 0; start < list.length; start += 2 * width) {
      const left = list.slice(start, start + width);
      const right = list.slice(start + width, start + 2 * width);
      yield* merge({ left, right, into: merged }, compare);
    }
    list = merged;
  }
  return list;
}

interface Runs<T> {
  readonly left: readonly T[];
  readonly right: readonly T[];
  readonly into: T[];
}

function* merge<T>({ left, right, into }: Runs<T>, compare: Compare<T>): Generator<void> {
  let [fromLeft, fromRight] = [0, 0];
  for (let count = 1; fromLeft < left.length && fromRight < right.length; count += 1) {
    const [one, other] = [left[fromLeft] as T, right[fromRight] as T];
    // The left one goes first when they are equal.
    if (compare(one, other) <= 0) {
      into.push(one);
      fromLeft += 1;
    } else {
      into.push(other);
      fromRight += 1;
    }
    if (count % STRETCH === 0) yield;
  }
  for (let at = fromLeft; at < left.length; at += 1) into.push(left[at] as T);
  for (let at = fromRight; at < right.length; at += 1) into.push(right[at] as T);
  yield;
}
