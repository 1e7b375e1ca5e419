import { describe, expect, it } from "vitest";
import { boundMessage, exceededBound, pathAt } from "./json-bounds.ts";

const bounds = { depth: 3, values: 8 };
const messageOf = (text: string) => {
  const exceeded = exceededBound(text, bounds);
  return exceeded && boundMessage(text, exceeded, bounds);
};

describe("exceededBound", () => {
  it.each([
    "1",
    '"[[[[[[[["',
    '"a\\"[[[[[[\\\\"',
    '{"a":{"b":[1]}}',
    "[1,2,3,4,5,6,7]",
    '{"a":1,"b":2,"c":3}',
    "[[],[],[]]",
    "]]]]]]]][[[",
  ])("lets %s pass", (text) => {
    expect(messageOf(text)).toBeUndefined();
  });

  it.each([
    ["[[[[", "the request[0][0][0]: nested deeper than 3 levels of arrays and objects"],
    ['{"a":[0,{"b":[]}]}', "a[1].b: nested deeper than 3 levels of arrays and objects"],
    ['{"x y":[[[', '["x y"][0][0]: nested deeper'],
    ["[1,2,3,4,5,6,7,8]", "the request[6]: the request has more than 8 values and keys"],
    ['{"a":{"b":1,"c":2,"d":3}}', "a.d: the request has more than 8 values and keys"],
    ['{"a":",,,,,,,,,,","b":[,,,,,,,,,', "b[2]: the request has more than 8 values and keys"],
  ])("names the place in %s", (text, message) => {
    expect(messageOf(text)).toContain(message);
  });

  it("looks at 16 MiB of any text in a fraction of a second", () => {
    const length = 16 * 1024 * 1024;
    const wide = { depth: length, values: length };
    const begunAt = performance.now();
    for (const unit of ["[", "0,", "\\", '"\\"', '""', "]"]) {
      exceededBound(unit.repeat(length / unit.length), wide);
    }
    expect(performance.now() - begunAt).toBeLessThan(5_000);
  });
});

describe("pathAt", () => {
  it.each([
    [0, ""],
    [5, "a"],
    [6, "a[0]"],
    [8, "a[1]"],
    [13, "a[1].b"],
    [20, "c"],
  ])("of place %d", (at, path) => {
    expect(pathAt('{"a":[1,{"b":2}],"c":3}', at)).toBe(path);
  });

  it("shows the beginning of a long one", () => {
    const path = pathAt(`{"${"k".repeat(100_000)}":${"[".repeat(1_000)}`, 101_000);
    expect(path).toHaveLength(201);
    expect(path.endsWith("…")).toBe(true);
  });
});
