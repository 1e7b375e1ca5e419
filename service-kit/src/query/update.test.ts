import { describe, expect, it } from "vitest";
import { parseLossless } from "../lossless-json.ts";
import { applyUpdate } from "./update.ts";

const document = () => ({
  id: "c1",
  status: "live",
  reputation: 80,
  nothing: null,
  tags: ["a", "b"],
  config: { urlMap: { controller: "/controller" }, mode: "local" },
  nodes: { nodeData: [{ id: "n1", memory: 5 }] },
});

const apply = (update: unknown, immutable: readonly string[] = ["id", "config.urlMap"]) =>
  applyUpdate<object>(document(), update, immutable);

describe("applyUpdate", () => {
  it.each([
    [{ status: "off" }, { status: "off" }],
    [
      { $set: { status: "off", "config.mode": "remote" } },
      { status: "off", config: { ...document().config, mode: "remote" } },
    ],
    [{ "clusterMetadata.a.b": 1 }, { clusterMetadata: { a: { b: 1 } } }],
    [{ "nothing.a": 1 }, { nothing: { a: 1 } }],
    [{ "nodes.nodeData.0.memory": 6 }, { nodes: { nodeData: [{ id: "n1", memory: 6 }] } }],
    [{ "tags.2": "c" }, { tags: ["a", "b", "c"] }],
    [{ $set: { tags: [] } }, { tags: [] }],
    [{ $set: {} }, {}],
    [{ $inc: { reputation: -5 } }, { reputation: 75 }],
    [{ $inc: { visits: 2 } }, { visits: 2 }],
    [{ $push: { tags: "c" } }, { tags: ["a", "b", "c"] }],
    [{ $push: { tags: { $each: ["x", "y"], $position: 0 } } }, { tags: ["x", "y", "a", "b"] }],
    [{ $push: { fresh: "c" } }, { fresh: ["c"] }],
    [{ $pull: { tags: "a" } }, { tags: ["b"] }],
    [{ $pull: { tags: { $in: ["a", "b"] } } }, { tags: [] }],
    [{ $pull: { tags: { $regex: "^[a]$" } } }, { tags: ["b"] }],
    [{ $pull: { "nodes.nodeData": { id: "n1" } } }, { nodes: { nodeData: [] } }],
    [{ $pull: { missing: "a" } }, {}],
    [{ $unset: { missing: 1 } }, {}],
    [
      { $set: { status: "x" }, $inc: { reputation: 1 } },
      { status: "x", reputation: 81 },
    ],
  ])("of %j changes just that", (update, change) => {
    expect(apply(update)).toEqual({ ...document(), ...change });
  });

  it("removes fields with $unset", () => {
    expect(apply({ $unset: { reputation: "", "config.mode": 1 } })).not.toHaveProperty(
      "reputation",
    );
    expect(apply({ $unset: { "config.mode": 1 } })).toMatchObject({
      config: { urlMap: document().config.urlMap },
    });
  });

  it("changes neither the document nor the update, and shares nothing with them", () => {
    const before = document();
    const update = { $set: { config2: { list: [1] } }, $push: { tags: { deep: [1] } } };
    const after = applyUpdate<object>(before, update, []) as Record<string, never>;
    expect(before).toEqual(document());
    update.$set.config2.list.push(2);
    update.$push.tags.deep.push(2);
    before.config.mode = "changed";
    expect(after).toMatchObject({ config2: { list: [1] }, config: { mode: "local" } });
    expect(JSON.stringify(after)).toContain('{"deep":[1]}');
  });

  it("keeps numbers that are kept as text", () => {
    const lossless = parseLossless('{"a":10.0,"b":18446744073709551616,"c":1}') as object;
    expect(JSON.stringify(applyUpdate(lossless, { c: 2 }, []))).toBe(
      '{"a":10.0,"b":18446744073709551616,"c":2}',
    );
  });

  it.each([
    [null, "the update: expected a non-empty object, got null"],
    [[], "the update: expected a non-empty object, got array"],
    [{}, "the update: expected a non-empty object, got object"],
    [
      { $rename: { a: "b" } },
      'the update: "$rename" is not supported; use $set, $unset, $inc, $push, $pull',
    ],
    [
      { $where: "1" },
      'the update: "$where" is not supported; use $set, $unset, $inc, $push, $pull',
    ],
    [
      { $set: { a: 1 }, b: 2 },
      'the update: "b" cannot stand beside operators; use $set, $unset, $inc, $push, $pull',
    ],
    [{ $set: 1 }, "$set: expected an object, got number"],
    [{ $set: [] }, "$set: expected an object, got array"],
    [{ id: "c2" }, "$set.id: this field cannot be changed"],
    [{ $unset: { id: 1 } }, "$unset.id: this field cannot be changed"],
    [{ "id.x": 1 }, "$set.id.x: this field cannot be changed"],
    [{ "config.urlMap": {} }, "$set.config.urlMap: this field cannot be changed"],
    [
      { "config.urlMap.controller": "/x" },
      "$set.config.urlMap.controller: this field cannot be changed",
    ],
    [{ config: {} }, "$set.config: this field cannot be changed"],
    [{ $inc: { reputation: "5" } }, "$inc.reputation: expected a number, got string"],
    [
      { $inc: { reputation: Number.POSITIVE_INFINITY } },
      "$inc.reputation: expected a number, got number",
    ],
    [{ $inc: { status: 1 } }, "$inc.status: expected a number in the document, found string"],
    [{ $inc: { nothing: 1 } }, "$inc.nothing: expected a number in the document, found null"],
    [{ $push: { status: 1 } }, "$push.status: expected an array in the document, found string"],
    [
      { $pull: { config2: 1, status: 1 } },
      "$pull.status: expected an array in the document, found string",
    ],
    [{ "status.code": 1 }, "$set.status.code: status is a string, not an object"],
    [{ "tags.x": 1 }, "$set.tags.x: tags is an array: expected an index from 0 to 2"],
    [{ "tags.3": 1 }, "$set.tags.3: tags is an array: expected an index from 0 to 2"],
    [
      { "tags.100000000": 1 },
      "$set.tags.100000000: tags is an array: expected an index from 0 to 2",
    ],
    [{ "tags.-1": 1 }, "$set.tags.-1: tags is an array: expected an index from 0 to 2"],
    [{ "tags.01": 1 }, "$set.tags.01: tags is an array: expected an index from 0 to 2"],
    [{ "tags.length": 0 }, "$set.tags.length: tags is an array: expected an index from 0 to 2"],
    [{ "tags.$[]": 1 }, "$set.tags.$[]: not a field path"],
    [{ "": 1 }, "$set.: not a field path"],
    [{ "a..b": 1 }, "$set.a..b: not a field path"],
    [{ $pull: { tags: { $where: "1" } } }, '$pull.tags: operator "$where" is not supported'],
    [
      { $pull: { tags: { $regex: "(" } } },
      "$pull.tags.$regex: bad pattern: error parsing regexp: missing closing ): `(`",
    ],
    [{ $set: { a: 1 }, $inc: { "a.b": 1 } }, /^the update does not apply: .*conflict/],
    [{ $push: { tags: { $each: 5 } } }, /^the update does not apply: .*\$each/],
  ])("refuses %j", (update, message) => {
    expect(() => apply(update)).toThrow(
      expect.objectContaining({
        reason: "INVALID_ARGUMENT",
        message: typeof message === "string" ? message : expect.stringMatching(message),
      }),
    );
  });

  it.each([
    '{"__proto__":{"polluted":1}}',
    '{"$set":{"__proto__.polluted":1}}',
    '{"$set":{"config.__proto__.polluted":1}}',
    '{"$set":{"constructor.prototype.polluted":1}}',
    '{"$set":{"a":{"__proto__":{"polluted":1}}}}',
    '{"$set":{"a":[{"b":{"__proto__":{"polluted":1}}}]}}',
    '{"$push":{"tags":{"$each":[{"__proto__":{"polluted":1}}]}}}',
    '{"$inc":{"__proto__.polluted":1}}',
    '{"$unset":{"__proto__.toString":1}}',
  ])("refuses %s and pollutes nothing", (text) => {
    expect(() => apply(JSON.parse(text))).toThrow(
      expect.objectContaining({ reason: "INVALID_ARGUMENT" }),
    );
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(typeof {}.toString).toBe("function");
  });

  it("answers in linear time for a catastrophic pattern of $pull", () => {
    const started = performance.now();
    const update = { $pull: { tags: { $regex: "(a+)+$" } } };
    applyUpdate({ tags: [`${"a".repeat(5_000)}!`] }, update, []);
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});
