import { expect, it } from "vitest";
import { bestLinked } from "./gpu-links.ts";

const matrix = (size: number, path: (a: number, b: number) => string) =>
  Array.from({ length: size }, (_, a) => Array.from({ length: size }, (_, b) => path(a, b)));
const range = (size: number) => Array.from({ length: size }, (_, slot) => slot);

it("takes the lowest slots where nothing is known of links, and nothing of too few", () => {
  expect(bestLinked([1, 3, 4], 2, [])).toEqual({ slots: [1, 3], strength: 0 });
  expect(bestLinked([1], 2, [])).toBeUndefined();
  expect(
    bestLinked(
      [1],
      0,
      matrix(4, () => "SYS"),
    ),
  ).toEqual({ slots: [], strength: 0 });
});

it("keeps to one side of a machine, also where more sets are possible than can be compared", () => {
  const side = (slot: number) => Math.floor(slot / 8);
  const links = matrix(16, (a, b) => (side(a) === side(b) ? "NV18" : "SYS"));
  const free = range(16).filter((slot) => slot !== 0);
  expect(bestLinked(free, 8, links)?.slots).toEqual(range(16).slice(8));
  expect(bestLinked(free, 2, links)?.slots).toEqual([1, 2]);
});

it("prefers many links to few, and any link to none", () => {
  const links = matrix(4, (a, b) => (a + b === 5 ? "NV4" : a + b === 3 ? "NV12" : "PHB"));
  expect(bestLinked(range(4), 2, links)).toEqual({ slots: [0, 3], strength: 112 });
  expect(
    bestLinked(
      [0, 1, 2],
      2,
      matrix(4, (a, b) => (a + b === 3 ? "SYS" : "")),
    )?.slots,
  ).toEqual([1, 2]);
});
