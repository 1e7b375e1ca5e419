import { parseLossless } from "@berth/service-kit";
import { describe, expect, it } from "vitest";
import { compileProjection } from "./projection.ts";

const document = {
  _id: 1,
  id: "b",
  tags: ["x"],
  a: { b: 1, c: { d: 2, e: 3 } },
  list: [{ b: 1, c: 2 }, 7, [{ b: 3, c: 4 }], { c: 5 }],
};

describe("compileProjection", () => {
  // https://www.mongodb.com/docs/manual/tutorial/project-fields-from-query-results/
  it.each<[string, object, object]>([
    ["everything when nothing is asked", {}, document],
    ["the named fields and _id", { id: 1, tags: true }, { _id: 1, id: "b", tags: ["x"] }],
    ["the named fields without _id", { id: 1, _id: 0 }, { id: "b" }],
    ["_id alone", { _id: 1 }, { _id: 1 }],
    [
      "everything but _id",
      { _id: 0 },
      { id: "b", tags: ["x"], a: document.a, list: document.list },
    ],
    ["all but the named fields", { a: 0, list: false, tags: 0 }, { _id: 1, id: "b" }],
    ["_id beside what is left out", { a: 0, list: 0, tags: 0, _id: 1 }, { _id: 1, id: "b" }],
    ["fields below", { "a.c.d": 1, _id: 0 }, { a: { c: { d: 2 } } }],
    ["several fields below one", { "a.c.d": 1, "a.b": 1, _id: 0 }, { a: { b: 1, c: { d: 2 } } }],
    [
      "all but a field below",
      { "a.c.d": 0, list: 0, tags: 0 },
      { _id: 1, id: "b", a: { b: 1, c: { e: 3 } } },
    ],
    ["fields of an array's items", { "list.b": 1, _id: 0 }, { list: [{ b: 1 }, [{ b: 3 }], {}] }],
    [
      "all but fields of an array's items",
      { "list.c": 0, a: 0, tags: 0, _id: 0 },
      { id: "b", list: [{ b: 1 }, 7, [{ b: 3 }], {}] },
    ],
    ["nothing below a scalar", { "id.x": 1, _id: 0 }, {}],
    ["an object without the field as an empty one", { "a.z": 1, _id: 0 }, { a: {} }],
    [
      "a scalar whose inner field is left out",
      { "id.x": 0, a: 0, list: 0, tags: 0 },
      { _id: 1, id: "b" },
    ],
  ])("shows %s", (_what, asked, shown) => {
    const before = structuredClone(document);
    expect(compileProjection(asked, "p")(document)).toEqual(shown);
    expect(document).toEqual(before);
  });

  it("keeps the fields' order and the numbers as they were written", () => {
    const written = parseLossless('{"z":1.0,"a":{"y":2.50,"x":[1e2]}}') as Record<string, unknown>;
    const shown = compileProjection({ a: 1, z: 1 }, "p")(written);
    expect(JSON.stringify(shown)).toBe('{"z":1.0,"a":{"y":2.50,"x":[1e2]}}');
    const rest = compileProjection({ "a.x": 0 }, "p")(written);
    expect(JSON.stringify(rest)).toBe('{"z":1.0,"a":{"y":2.50}}');
    expect(JSON.stringify(compileProjection({ "z.q": 1 }, "p")(written))).toBe("{}");
  });

  it.each<[string, unknown, string]>([
    ["no object", ["id"], "options.projection: expected an object, got array"],
    ["both ways", { id: 1, a: 0 }, "options.projection.a: expected all fields 1 or all fields 0"],
    ["another number", { id: 2 }, "options.projection.id: expected 1 to show the field, or 0"],
    ["an operator", { tags: { $slice: 1 } }, "options.projection.tags: expected 1 to show"],
    ["an operator as a field", { $id: 1 }, '"$id" is not a field\'s path'],
    ["an empty path", { "": 1 }, '"" is not a field\'s path'],
    ["a path with a gap", { "a..b": 1 }, '"a..b" is not a field\'s path'],
    ["the prototype", JSON.parse('{"a.__proto__":1}'), "is not a field's path"],
    ["a field and what is below it", { a: 1, "a.b": 1 }, "options.projection.a.b: expected either"],
    ["what is below a field and it", { "a.b": 0, a: 0 }, "options.projection.a: expected either"],
    [
      "too much",
      Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`f${index}`, 1])),
      "options.projection: expected at most 1000 fields, got 1001",
    ],
  ])("refuses %s", (_what, asked, message) => {
    expect(() => compileProjection(asked, "options.projection")).toThrow(message);
  });
});
