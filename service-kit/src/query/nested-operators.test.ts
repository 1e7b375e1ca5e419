import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileFilter } from "./filter.ts";

/** Two nodes and their GPUs, a third without any. */
const cluster = {
  nodes: [
    { id: "a", gpus: [{ model: "T4", memory: 15, uses: [1] }] },
    {
      id: "b",
      gpus: [
        { model: "A100", memory: 80 },
        { model: "H100", memory: 94, uses: [2, 3] },
      ],
    },
    { id: "c", gpus: [] },
  ],
};

describe("a path through two arrays", () => {
  it.each<[object, boolean]>([
    [{ "nodes.gpus.memory": { $gt: 90 } }, true],
    [{ "nodes.gpus.memory": { $gt: 94 } }, false],
    [{ "nodes.gpus.memory": { $gte: 94 } }, true],
    [{ "nodes.gpus.memory": { $lt: 16 } }, true],
    [{ "nodes.gpus.memory": { $lte: 14 } }, false],
    [{ "nodes.gpus.memory": { $not: { $lt: 16 } } }, false],
    [{ "nodes.gpus.model": "H100" }, true],
    [{ "nodes.gpus.model": { $ne: "H100" } }, false],
    [{ "nodes.gpus.model": { $ne: "V100" } }, true],
    [{ "nodes.gpus.model": { $in: ["V100", "T4"] } }, true],
    [{ "nodes.gpus.model": { $nin: ["V100", "T4"] } }, false],
    [{ "nodes.gpus.model": { $all: ["T4", "H100"] } }, true],
    [{ "nodes.gpus.model": { $all: ["T4", "V100"] } }, false],
    [{ "nodes.gpus.model": { $type: "string" } }, true],
    [{ "nodes.gpus.uses": 3 }, true],
    [{ "nodes.gpus.uses": [2, 3] }, true],
    [{ "nodes.gpus.uses": { $in: [3] } }, true],
    [{ "nodes.gpus.uses": { $gt: 2 } }, true],
    [{ "nodes.gpus.uses": { $size: 1 } }, true],
    [{ "nodes.gpus.uses": { $size: 3 } }, false],
    [{ "nodes.gpus": { $size: 0 } }, true],
    [{ "nodes.gpus": { $elemMatch: { model: "H100", memory: { $gt: 90 } } } }, true],
    [{ "nodes.gpus": { $elemMatch: { model: "A100", memory: { $gt: 90 } } } }, false],
    [{ "nodes.1.gpus.memory": { $lt: 16 } }, false],
    [{ "nodes.gpus.1.memory": { $gt: 90 } }, true],
    [{ "nodes.gpus.nothing": null }, false],
    [{ "nothing.gpus.memory": null }, true],
  ])("matches %j: %j", (filter, expected) => {
    expect(compileFilter(filter)(cluster)).toBe(expected);
  });

  it("finds what a loop over all of them finds", () => {
    const value = fc.nat(5);
    const nodes = fc.array(fc.record({ gpus: fc.array(fc.record({ x: value })) }));
    const comparisons = {
      $eq: (x: number, y: number) => x === y,
      $gt: (x: number, y: number) => x > y,
      $gte: (x: number, y: number) => x >= y,
      $lt: (x: number, y: number) => x < y,
      $lte: (x: number, y: number) => x <= y,
    };
    fc.assert(
      fc.property(nodes, value, (list, wanted) => {
        const all = list.flatMap(({ gpus }) => gpus.map(({ x }) => x));
        for (const [operator, compare] of Object.entries(comparisons)) {
          const matches = compileFilter({ "nodes.gpus.x": { [operator]: wanted } });
          expect(matches({ nodes: list })).toBe(all.some((x) => compare(x, wanted)));
        }
        const isIn = compileFilter({ "nodes.gpus.x": { $in: [wanted] } });
        expect(isIn({ nodes: list })).toBe(all.includes(wanted));
        const isNotIn = compileFilter({ "nodes.gpus.x": { $nin: [wanted] } });
        expect(isNotIn({ nodes: list })).toBe(!all.includes(wanted));
      }),
    );
  });
});
