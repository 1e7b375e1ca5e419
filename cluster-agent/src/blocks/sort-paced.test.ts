import { describe, expect, it } from "vitest";
import { sortPaced } from "./sort-paced.ts";

/** What a work comes to, and how often it paused. */
function done<T>(work: Generator<void, T>): { value: T; pauses: number } {
  for (let pauses = 0; ; pauses += 1) {
    const piece = work.next();
    if (piece.done === true) return { value: piece.value, pauses };
  }
}

const numbers = (one: number, other: number) => one - other;

describe("sortPaced", () => {
  it.each([[[]], [[1]], [[2, 1]], [[3, 1, 2]], [[5, 4, 3, 2, 1, 9, 8, 7, 6, 0, 0]]])(
    "sorts %j",
    (items) => {
      expect(done(sortPaced(items, numbers)).value).toEqual(items.toSorted(numbers));
    },
  );

  it("leaves equal items in their order, and the list as it was", () => {
    const items = Array.from({ length: 1_000 }, (_, index) => ({ index, key: (index * 7) % 13 }));
    const before = [...items];
    const compare = (one: { key: number }, other: { key: number }) => one.key - other.key;
    expect(done(sortPaced(items, compare)).value).toEqual(items.toSorted(compare));
    expect(items).toEqual(before);
  });

  it("pauses every few comparisons", () => {
    let since = 0;
    let most = 0;
    const work = sortPaced(
      Array.from({ length: 5_000 }, (_, index) => (index * 7919) % 5_000),
      (one, other) => {
        since += 1;
        most = Math.max(most, since);
        return one - other;
      },
    );
    for (let piece = work.next(); piece.done !== true; piece = work.next()) since = 0;
    expect(most).toBeLessThanOrEqual(32);
  });
});
