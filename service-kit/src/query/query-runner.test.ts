import { describe, expect, it } from "vitest";
import { compileFilter } from "./filter.ts";
import { QueryRunner } from "./query-runner.ts";

interface Item {
  readonly id: number;
  readonly document: object | null;
}

const documentOf = (item: Item) => item.document;
const items = (documents: readonly (object | null)[]): readonly Item[] =>
  documents.map((document, id) => ({ id, document }));

/** A document and a filter that take the library seconds. */
const huge = { list: Array.from({ length: 200_000 }, (_none, n) => n) };
const costly = {
  $or: Array.from({ length: 100 }, (_none, n) => ({ list: { $elemMatch: { $gt: 200_000 + n } } })),
};

describe("QueryRunner", () => {
  it("gives the items whose documents match, in their order", async () => {
    const all = items([{ a: 1 }, null, { a: 2 }, { a: 1 }]);
    const selection = { items: all, matches: compileFilter({ a: 1 }), documentOf, field: "query" };
    const found = await new QueryRunner().select(selection);
    expect(found.map(({ id }) => id)).toEqual([0, 3]);
    expect(await new QueryRunner().select({ ...selection, items: [] })).toEqual([]);
  });

  it("refuses a filter that takes too long on one document, and cuts it off", async () => {
    const matches = compileFilter(costly);
    const runner = new QueryRunner();
    const field = "filter";
    const run = runner.select({ items: items([{ a: 1 }, huge]), matches, documentOf, field });
    await expect(run).rejects.toMatchObject({
      reason: "INVALID_ARGUMENT",
      message: expect.stringMatching(/^filter: takes more than 50 ms on one document/),
    });
    const again = { items: items([{ a: 1 }]), matches: compileFilter({ a: 1 }), documentOf, field };
    expect(await runner.select(again)).toHaveLength(1);
  });

  it("refuses a filter that takes too long on all documents together", async () => {
    const runner = new QueryRunner(undefined, { documentMs: 5_000, totalMs: 30 });
    const all = items(Array.from({ length: 10_000 }, () => ({ list: [1, 2, 3] })));
    const run = runner.select({
      items: all,
      matches: compileFilter(costly),
      documentOf,
      field: "q",
    });
    await expect(run).rejects.toThrow("q: takes more than 30 ms: ask with fewer conditions");
  });

  it("ends with the signal's reason between two pieces", async () => {
    const all = items(Array.from({ length: 10_000 }, () => ({ list: [1, 2, 3] })));
    const controller = new AbortController();
    const { signal } = controller;
    const matches = compileFilter(costly);
    const run = new QueryRunner().select({ items: all, matches, documentOf, field: "q", signal });
    setImmediate(() => controller.abort(new Error("enough")));
    await expect(run).rejects.toThrow("enough");
  });

  it("throws what the filter throws", async () => {
    const matches = () => {
      throw new TypeError("a bug");
    };
    const run = new QueryRunner().select({ items: items([{}]), matches, documentOf, field: "q" });
    await expect(run).rejects.toThrow("a bug");
  });
});
