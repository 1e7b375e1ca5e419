import { describe, expect, it } from "vitest";
import { compileFilter } from "./filter.ts";

const document = {
  id: "cluster-1",
  regionId: "eu-west",
  reputation: 80,
  live: true,
  note: null,
  tags: ["gpu", "prod"],
  scores: [5, 12],
  empty: [],
  vcpus: { count: 64 },
  nodes: {
    nodeData: [
      { id: "n1", memory: 100, gpus: { modelNames: ["H100"], gpus: [{ id: "0" }, { id: "1" }] } },
      { id: "n2", memory: 900, gpus: { modelNames: ["T4"], gpus: [] } },
    ],
  },
  matrix: [["a1"], ["b2", "c3"]],
};

const matches = (filter: unknown) => compileFilter(filter)(document);
const refusal = (filter: unknown) => () => compileFilter(filter)(document);

describe("compileFilter", () => {
  it.each<object>([
    {},
    { id: "cluster-1" },
    { id: { $eq: "cluster-1" }, regionId: { $ne: "us" } },
    { reputation: { $gt: 79, $lt: 81, $gte: 80, $lte: 80 } },
    { regionId: { $in: ["us", "eu-west"] } },
    { regionId: { $nin: [] } },
    { "vcpus.count": 64 },
    { vcpus: { count: 64 } },
    { note: null },
    { missing: null },
    { missing: { $exists: false } },
    { "vcpus.count": { $exists: true } },
    { reputation: { $type: "number" } },
    { reputation: { $type: ["string", "int"] } },
    { tags: "gpu" },
    { tags: ["gpu", "prod"] },
    { tags: { $all: ["prod", "gpu"] } },
    { tags: { $size: 2 } },
    { empty: { $size: 0 } },
    { tags: { $in: ["prod"] } },
    { scores: { $elemMatch: { $gt: 10, $lt: 20 } } },
    { "nodes.nodeData.id": "n2" },
    { "nodes.nodeData.1.id": "n2" },
    { "nodes.nodeData.gpus.gpus.id": "1" },
    { "nodes.nodeData": { $elemMatch: { id: "n2", memory: { $gt: 500 } } } },
    { $and: [{ live: true }, { $or: [{ id: "x" }, { reputation: 80 }] }] },
    { $nor: [{ id: "x" }, { live: false }] },
    { reputation: { $not: { $gt: 90 } } },
  ])("matches %j", (filter) => {
    expect(matches(filter)).toBe(true);
  });

  it.each<object>([
    { id: "cluster" },
    { reputation: { $gt: 80 } },
    { reputation: "80" },
    { reputation: { $gt: "1" } },
    { reputation: { $gt: 70, $lt: 75 } },
    { regionId: { $in: [] } },
    { "vcpus.count": { $exists: false } },
    { tags: { $size: 1 } },
    { tags: { $all: ["gpu", "dev"] } },
    { tags: { $all: [] } },
    { scores: { $elemMatch: { $gt: 6, $lt: 10 } } },
    { "nodes.nodeData.0.id": "n2" },
    { "nodes.nodeData": { $elemMatch: { id: "n1", memory: { $gt: 500 } } } },
    { $and: [{ live: true }, { id: "x" }] },
    { $nor: [{ live: true }] },
    { missing: { $exists: true } },
    { "id.length": 9 },
  ])("does not match %j", (filter) => {
    expect(matches(filter)).toBe(false);
  });

  it("keeps its own copy of the filter", () => {
    const filter = { regionId: { $in: ["eu-west"] } };
    const compiled = compileFilter(filter);
    filter.regionId.$in.pop();
    expect(compiled(document)).toBe(true);
  });
});

describe("compileFilter with $regex", () => {
  it.each<object>([
    { id: { $regex: "^cluster-\\d$" } },
    { id: { $regex: "USTER", $options: "i" } },
    { tags: { $regex: "^pro" } },
    { matrix: { $regex: "^c" } },
    { "nodes.nodeData.id": { $regex: "2$" } },
    { "nodes.nodeData.1.id": { $regex: "^n2$" } },
    { "nodes.nodeData.gpus.modelNames.0": { $regex: "^T" } },
    { "nodes.nodeData": { $elemMatch: { id: { $regex: "^n" }, memory: 900 } } },
    { tags: { $elemMatch: { $regex: "^pro" } } },
    { id: { $not: { $regex: "^x" } } },
    { $or: [{ id: { $regex: "^x" } }, { id: { $regex: "^c" } }] },
    { id: { $regex: "" } },
    { id: { $regex: "^c", $ne: "cluster-2" } },
  ])("matches %j", (filter) => {
    expect(matches(filter)).toBe(true);
  });

  it.each<object>([
    { id: { $regex: "^x" } },
    { id: { $regex: "CLUSTER" } },
    { "nodes.nodeData.0.id": { $regex: "^n2$" } },
    { reputation: { $regex: "80" } },
    { vcpus: { $regex: "" } },
    { missing: { $regex: "" } },
    { constructor: { $regex: "" } },
    { "constructor.name": { $regex: "Object" } },
    { id: { $not: { $regex: "^c" } } },
  ])("does not match %j", (filter) => {
    expect(matches(filter)).toBe(false);
  });

  it.each(["(a+)+$", "(a|aa)+$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$", "(.*a){20}$"])(
    "answers in linear time for the catastrophic pattern %s",
    (pattern) => {
      const compiled = compileFilter({ id: { $regex: pattern } });
      const started = performance.now();
      compiled({ id: `${"a".repeat(5_000)}!` });
      expect(performance.now() - started).toBeLessThan(2_000);
    },
  );

  const badPatterns: readonly (readonly [unknown, RegExp])[] = [
    ["(", /^query\.\w+\.\$regex: bad pattern: ./],
    ["a**", /^query\.\w+\.\$regex: bad pattern: ./],
    ["(?=a)", /^query\.\w+\.\$regex: bad pattern: ./],
    ["(a)\\1", /^query\.\w+\.\$regex: bad pattern: ./],
    ["((a{100}){100}){100}", /^query\.\w+\.\$regex: bad pattern: ./],
    ["[a-z]{1000}".repeat(80), /its repetitions unfold to too many steps$/],
    ["a".repeat(1_001), /expected at most 1000 characters$/],
    [5, /^query: \$regex: expected a string, got number$/],
    [null, /^query: \$regex: expected a string, got null$/],
    [{ $ne: 1 }, /^query: \$regex: expected a string, got object$/],
  ];
  it.each(badPatterns)("refuses the pattern %j", (pattern, message) => {
    expect(refusal({ id: { $regex: pattern } })).toThrow(
      expect.objectContaining({
        reason: "INVALID_ARGUMENT",
        message: expect.stringMatching(message),
      }),
    );
  });

  it.each(["x", "g", "-i", "i)(", 1, null])("refuses the options %j", (options) => {
    const filter = { id: { $regex: "a", $options: options } };
    if (options === null) expect(refusal(filter)).not.toThrow();
    else expect(refusal(filter)).toThrow("$options: expected letters of i, m, s");
  });
});

describe("compileFilter refuses", () => {
  it.each([
    [null, "query: expected an object, got null"],
    [[], "query: expected an object, got array"],
    ["id", "query: expected an object, got string"],
    [{ $where: "1" }, 'query: operator "$where" is not supported'],
    [{ $expr: { $gt: ["$a", 1] } }, 'query: operator "$expr" is not supported'],
    [{ $jsonSchema: {} }, 'query: operator "$jsonSchema" is not supported'],
    [{ a: { $where: "1" } }, 'query: operator "$where" is not supported'],
    [{ $and: [{ b: { $not: { $expr: 1 } } }] }, 'query: operator "$expr" is not supported'],
    [{ a: { $elemMatch: { $where: "1" } } }, 'query: operator "$where" is not supported'],
    [{ a: { $re2: "x" } }, 'query: operator "$re2" is not supported'],
    [{ a: { $oneOf: [1] } }, 'query: operator "$oneOf" is not supported'],
    [{ a: { $in: [{ $where: "1" }] } }, 'query: operator "$where" is not supported'],
    [{ a: { $mod: [2, 0] } }, 'query: operator "$mod" is not supported'],
    [{ a: { $function: {} } }, 'query: operator "$function" is not supported'],
    [{ a: { $: 1 } }, 'query: operator "$" is not supported'],
    [{ a: { $gt: 1, b: 2 } }, "query: unknown query operator b"],
    [{ $gt: 5 }, 'query: $gt stands below a field: {"field": {"$gt": …}}'],
    [{ $regex: "a" }, 'query: $regex stands below a field: {"field": {"$regex": …}}'],
    [{ a: { $options: "i" } }, "query: $options stands only beside $regex"],
    [{ $and: {} }, "query: $and: expected a non-empty array of objects, got object"],
    [{ $or: [] }, "query: $or: expected a non-empty array of objects, got array"],
    [{ $nor: [1] }, "query: $nor: expected a non-empty array of objects, got array"],
    [{ a: { $in: "x" } }, "query: $in: expected an array, got string"],
    [{ a: { $nin: null } }, "query: $nin: expected an array, got null"],
    [{ a: { $all: {} } }, "query: $all: expected an array, got object"],
    [{ a: { $elemMatch: 1 } }, "query: $elemMatch: expected an object, got number"],
    [{ a: { $not: 1 } }, "query: $not: expected an object, got number"],
    [{ a: { $size: "2" } }, "query: $size: expected a whole number, got string"],
  ])("%j", (filter, message) => {
    expect(() => compileFilter(filter)).toThrow(
      expect.objectContaining({ reason: "INVALID_ARGUMENT", message }),
    );
  });

  it.each(["constructor", "__proto__", "function", 1, null])("the $type %j", (type) => {
    expect(() => compileFilter({ a: { $type: type } })).toThrow("$type: expected one of array, ");
  });

  it("keys that reach a prototype, and pollutes nothing", () => {
    for (const text of [
      '{"__proto__":{"polluted":1}}',
      '{"a.__proto__.polluted":1}',
      '{"$and":[{"__proto__":{"polluted":1}}]}',
      '{"a":{"$elemMatch":{"__proto__":{"polluted":1}}}}',
      '{"a":{"$in":[{"__proto__":{"polluted":1}}]}}',
    ]) {
      expect(() => compileFilter(JSON.parse(text))).toThrow("is not a path");
    }
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });

  it.each(["toString", "constructor", "constructor.name", "hasOwnProperty.length"])(
    "to see the inherited property %s",
    (path) => {
      expect(matches({ [path]: { $exists: true } })).toBe(false);
    },
  );

  it("naming the field that the caller gave", () => {
    expect(() => compileFilter(1, "filter.values")).toThrow("filter.values: expected an object");
  });
});
