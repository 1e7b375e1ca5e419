import { describe, expect, it } from "vitest";
import { compareValues, sortValue } from "./mongo-order.ts";

const ordered: readonly (readonly unknown[])[] = [
  [undefined, null],
  [-1e9],
  [0, -0],
  [1.5],
  [2],
  [""],
  ["10"],
  ["9"],
  ["a"],
  ["ab"],
  ["b"],
  ["\u{ffee}"],
  ["\u{1f600}"],
  [{}],
  [{ a: 1 }],
  [{ a: 1, b: 1 }],
  [{ b: 1 }],
  // The type of a field comes before its name.
  [{ a: "x" }],
  [[]],
  [[1]],
  [[1, 2]],
  [["a"]],
  [false],
  [true],
];

describe("compareValues", () => {
  it("orders values over all types as MongoDB documents", () => {
    for (const [index, same] of ordered.entries()) {
      for (const [otherIndex, others] of ordered.entries()) {
        for (const one of same) {
          for (const other of others) {
            expect(Math.sign(compareValues(one, other)) + 0).toBe(Math.sign(index - otherIndex));
          }
        }
      }
    }
  });
});

describe("sortValue", () => {
  it.each<[string, unknown, string, unknown, unknown]>([
    ["a field", { a: 5 }, "a", 5, 5],
    ["a field below", { a: { b: 5 } }, "a.b", 5, 5],
    ["a missing field", { a: 5 }, "b", undefined, undefined],
    ["a field below a scalar", { a: 5 }, "a.b", undefined, undefined],
    ["an inherited name", {}, "constructor", undefined, undefined],
    ["the least or greatest item", { a: [3, 1, 2] }, "a", 1, 3],
    ["items of several types", { a: ["x", 3, true] }, "a", 3, true],
    ["an array in an array", { a: [[9], [1]] }, "a", [1], [9]],
    ["fields of items", { a: [{ b: 2 }, { b: 1 }] }, "a.b", 1, 2],
    ["an item without the field", { a: [{ b: 2 }, {}] }, "a.b", undefined, 2],
    ["an item that is no object", { a: [{ b: 2 }, 7] }, "a.b", undefined, 2],
    ["an item by its index", { a: [3, 1, 2] }, "a.0", 3, 3],
    ["a field by an index of the array", { a: [{ b: 3 }, { b: 1 }] }, "a.1.b", 1, 1],
    ["fields below two arrays", { a: [{ b: [4, 2] }, { b: [3] }] }, "a.b", 2, 4],
    ["an empty array on the way", { a: [] }, "a.b", undefined, undefined],
  ])("finds %s", (_what, document, path, least, greatest) => {
    expect(sortValue(document, path.split("."), 1)).toEqual(least);
    expect(sortValue(document, path.split("."), -1)).toEqual(greatest);
  });

  it("has an empty array before what is missing", () => {
    const empty = sortValue({ a: [] }, ["a"], 1);
    expect(compareValues(empty, undefined)).toBeLessThan(0);
    expect(compareValues(undefined, empty)).toBeGreaterThan(0);
    expect(compareValues(empty, empty)).toBe(0);
  });
});
