import { describe, expect, it } from "vitest";
import { parseBlockQuery, parsePage } from "./query-request.ts";

const document = { id: "b", cluster: { reputation: 97 }, options: 1 };

describe("parseBlockQuery", () => {
  it.each<[string, unknown, boolean]>([
    ["nothing", undefined, true],
    ["an empty object", {}, true],
    ["an empty query", { query: {} }, true],
    ["options alone", { options: { limit: 5 } }, true],
    ["a bare filter", { id: "b" }, true],
    ["a bare filter that does not match", { id: "c" }, false],
    ["a bare filter on a field named options", { id: "b", options: 1 }, true],
    ["the seed's query", { query: { "cluster.reputation": { $gt: 90 } } }, true],
    ["a query that does not match", { query: { "cluster.reputation": { $gt: 97 } } }, false],
  ])("reads %s", (_what, body, matches) => {
    expect(parseBlockQuery(body).matches(document)).toBe(matches);
  });

  it("reads the options of the seed, and all of them", () => {
    const seed = parseBlockQuery({ query: {}, options: { sort: { id: 1 }, limit: 10 } });
    const sort = [{ keys: ["id"], direction: 1 }];
    expect(seed).toMatchObject({ sort, limit: 10, skip: 0, projection: undefined });
    const all = parseBlockQuery({
      options: { sort: { "a.b": -1, id: 1 }, limit: 0, skip: 7, projection: { id: 1 } },
    });
    expect(all).toMatchObject({
      ...{ sort: [{ keys: ["a", "b"], direction: -1 }, ...sort], limit: 10_000, skip: 7 },
    });
    expect(all.projection?.(document)).toEqual({ id: "b" });
  });

  it.each<[unknown, string]>([
    [[], "the request body: expected a JSON object, got array"],
    [null, "the request body: expected a JSON object, got null"],
    [{ query: [] }, "query: expected a filter as a JSON object, got array"],
    [{ query: null }, "query: expected a filter as a JSON object, got null"],
    [
      { query: {}, "cluster.id": "c1" },
      'cluster.id: expected nothing beside "query" and "options"',
    ],
    [{ query: { a: { $where: "1" } } }, 'operator "$where" is not supported'],
    [{ query: {}, options: 7 }, "options: expected an object, got number"],
    [{ options: { hint: 1 } }, "options.hint: expected one of sort, limit, skip, projection"],
    [{ options: { sort: "id" } }, "options.sort: expected an object of paths, got string"],
    [{ options: { sort: { id: 2 } } }, "options.sort.id: expected 1 or -1"],
    [{ options: { sort: { id: "asc" } } }, "options.sort.id: expected 1 or -1"],
    [{ options: { sort: { "a..b": 1 } } }, 'options.sort: "a..b" is not a field\'s path'],
    [{ options: { sort: { $natural: 1 } } }, 'options.sort: "$natural" is not a field\'s path'],
    [
      { options: { sort: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`f${i}`, 1])) } },
      "options.sort: expected at most 32 paths, got 33",
    ],
    [{ options: { limit: -1 } }, "options.limit: expected a whole number from 0"],
    [{ options: { limit: 1.5 } }, "options.limit: expected a whole number from 0"],
    [{ options: { limit: "10" } }, "options.limit: expected a whole number from 0"],
    [{ options: { skip: null } }, "options.skip: expected a whole number from 0"],
    [{ options: { projection: { id: 1, a: 0 } } }, "options.projection.a: expected all fields 1"],
  ])("refuses %j", (body, message) => {
    expect(() => parseBlockQuery(body)).toThrow(message);
  });
});

describe("parsePage", () => {
  it("lists at most ten thousand", () => {
    expect(parsePage({ limit: 20_000 }, "")).toEqual({ skip: 0, limit: 10_000 });
    expect(parsePage({ skip: 3, limit: 2 }, "")).toEqual({ skip: 3, limit: 2 });
  });
});
