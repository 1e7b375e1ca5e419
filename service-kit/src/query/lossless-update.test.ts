import { describe, expect, it } from "vitest";
import { parseLossless } from "../lossless-json.ts";
import { plainOf, updateLossless } from "./lossless-update.ts";

const DOCUMENT = `{"id":"c","a":10.0,"n":{"b":12345678901234567890,"deep":{"c":1e2}},"l":[1.0,2,{"x":3.0}],"c":1,"z":null}`;

const updated = (update: string) => {
  const lossless = (text: string) => parseLossless(text) as Record<string, unknown>;
  return JSON.stringify(updateLossless(lossless(DOCUMENT), lossless(update), ["id"]));
};

describe("updateLossless", () => {
  it.each([
    ['{"c":2.0}', '"c":1,', '"c":2.0,'],
    ['{"$set":{"a":10}}', '"a":10.0', '"a":10'],
    ['{"$set":{"n.deep.c":98765432109876543210}}', '"c":1e2', '"c":98765432109876543210'],
    ['{"$set":{"l.2.x":4.00}}', '{"x":3.0}', '{"x":4.00}'],
    ['{"$set":{"z.new":{"y":[1e2,-0]}}}', '"z":null', '"z":{"new":{"y":[1e2,-0]}}'],
    ['{"fresh.path":1.50}', '"z":null}', '"z":null,"fresh":{"path":1.50}}'],
    ['{"$unset":{"n.b":1.0}}', '"b":12345678901234567890,', ""],
    ['{"$unset":{"l.0":""}}', "[1.0,2", "[null,2"],
    ['{"$unset":{"none.there":1,"l.2.none":1}}', "", ""],
    ['{"$inc":{"a":1.5}}', '"a":10.0', '"a":11.5'],
    ['{"$inc":{"n.deep.c":1.0}}', '"c":1e2', '"c":101'],
    ['{"$push":{"l":5.0}}', '{"x":3.0}]', '{"x":3.0},5.0]'],
    ['{"$push":{"n.list":1e2}}', '"deep":{"c":1e2}', '"deep":{"c":1e2},"list":[1e2]'],
    ['{"$push":{"l":{"$each":[0.0,7.10],"$position":0}}}', "[1.0,", "[0.0,7.10,1.0,"],
    ['{"$push":{"l":{"$each":[9.0],"$slice":-2}}}', '[1.0,2,{"x":3.0}]', '[{"x":3.0},9.0]'],
    ['{"$pull":{"l":1}}', "[1.0,2", "[2"],
    ['{"$pull":{"l":{"$gte":2.0}}}', "[1.0,2,", "[1.0,"],
    ['{"$pull":{"l":{"x":3}}}', ',{"x":3.0}]', "]"],
    ['{"$pull":{"none":1.0}}', "", ""],
  ])("%s changes just that, and keeps every number as it was written", (update, from, to) => {
    expect(updated(update)).toBe(DOCUMENT.replace(from, to));
  });

  it.each([
    ['{"id":"x"}', "cannot be changed"],
    ['{"$inc":{"l":1.0}}', "$inc.l: expected a number in the document"],
    ['{"$set":{"n":1.0},"$unset":{"n.b":1}}', "conflict"],
    ['{"$set":{"a.b":1.0}}', "a is a number, not an object"],
    ['{"$set":{"x":{"__proto__":1.0}}}', '"__proto__" is not allowed'],
    ["{}", "expected a non-empty object"],
  ])("refuses %s as on plain numbers", (update, message) => {
    expect(() => updated(update)).toThrow(message);
  });

  it("leaves document and update alone", () => {
    const [document, update] = [DOCUMENT, '{"$push":{"l":{"y":1.0}}}'].map(
      (text) => parseLossless(text) as Record<string, unknown>,
    );
    const result = updateLossless(document ?? {}, update ?? {}, ["id"]);
    updateLossless(result, { $set: { "n.deep.c": 1, "l.3.y": 2 } }, ["id"]);
    expect(JSON.stringify(document)).toBe(DOCUMENT);
    expect(JSON.stringify(update)).toBe('{"$push":{"l":{"y":1.0}}}');
    expect(JSON.stringify(result)).toContain('{"y":1.0}');
  });
});

describe("plainOf", () => {
  it("gives what JSON.parse gives", () => {
    expect(plainOf(parseLossless(DOCUMENT))).toEqual(JSON.parse(DOCUMENT));
  });
});
